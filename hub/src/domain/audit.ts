// The sealed history of what operators changed (D22), as it stands in a bundle: one JSON value per line.
//
//   {"bundle":"holdfast-audit/1","tenant":"default","first":1,"last":2}
//   {"seal":"<JWS>"}          each seal, followed by the lines of the operations that it seals
//   {"operation":{…}}
//   {"end":"<JWS>"}           over the digest of all lines above
//
// A seal is signed, names the seal before it by its digest, and holds the digest of its operations' lines. So nothing
// in the chain can be changed, left out, added or put elsewhere without the key; the end says that the bundle is whole.
import { createHash } from "node:crypto";

export const bundleFormat = "holdfast-audit/1";

/** What a JWS is for, in its protected header (`typ`): one is never taken for the other. */
export type SignedType = "holdfast-seal" | "holdfast-bundle";

/** Digests are SHA-256, as base64url without padding. */
export interface Seal {
  readonly tenant: string;
  /** 1, 2, 3 …, without a gap. */
  readonly number: number;
  /** Digest of the JWS of the seal before; empty in the first. */
  readonly previous: string;
  /** How many there are, and the digest of their lines, each with its line feed. */
  readonly operations: { readonly count: number; readonly sha256: string };
  /** By the ledger's clock, RFC 3339. */
  readonly sealedAt: string;
}

export interface BundleStart {
  readonly bundle: typeof bundleFormat;
  readonly tenant: string;
  /** Number of the first seal and of the last; the last is one less than the first where there is none. */
  readonly first: number;
  readonly last: number;
}

export interface BundleEnd {
  readonly tenant: string;
  readonly first: number;
  readonly last: number;
  /** Digest of the JWS of the seal `last`, whether it is in the bundle or before it; empty for 0. */
  readonly head: string;
  /** Digest of all lines before this one, each with its line feed. */
  readonly sha256: string;
  /** By the ledger's clock, RFC 3339. */
  readonly exportedAt: string;
}

/** An operation as the ledger has it: what is signed is this text and no reading of it. */
export interface OperationRecord {
  readonly operationId: string;
  /** RFC 3339 in UTC, with microseconds. */
  readonly at: string;
  readonly subject: string;
  readonly action: string;
  readonly target: string;
  readonly reason: string;
  readonly ticket: string;
  /** JSON; null for nothing. */
  readonly before: string | null;
  readonly after: string | null;
}

export function operationLine(record: OperationRecord): string {
  const { operationId, at, subject, action, target, reason, ticket, before, after } = record;
  const words = JSON.stringify({ id: operationId, at, subject, action, target, reason, ticket });
  return `{"operation":${words.slice(0, -1)},"before":${before ?? "null"},"after":${after ?? "null"}}}`;
}

export function startLine(start: BundleStart): string {
  return JSON.stringify(start);
}

export function sealLine(jws: string): string {
  return JSON.stringify({ seal: jws });
}

export function endLine(jws: string): string {
  return JSON.stringify({ end: jws });
}

/** Digests lines one after the other, each with its line feed. */
export class LinesDigest {
  readonly #hash = createHash("sha256");

  add(line: string | Uint8Array): this {
    this.#hash.update(line).update("\n");
    return this;
  }

  /** Of all that was added by now. */
  toString(): string {
    return this.#hash.copy().digest("base64url");
  }
}

/** What the next seal names its predecessor by. */
export function digestOfSeal(jws: string): string {
  return createHash("sha256").update(jws).digest("base64url");
}
