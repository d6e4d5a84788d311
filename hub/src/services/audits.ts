import {
  type BundleEnd,
  bundleFormat,
  digestOfSeal,
  endLine,
  LinesDigest,
  operationLine,
  type Seal,
  sealLine,
  startLine,
} from "../domain/audit.js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { AuditHead } from "../ledger/audit.js";
import type { Ledger } from "../ledger/ledger.js";
import { type AuditSigner, keyIdIn, readUnverified } from "./audit-key.js";
import type { Sealing } from "./sealing.js";

/** Seals read at once: with 500 operations in each, some MB at most. */
const sealsPerRead = 20;
const waitingCountMax = 10_000;

export interface SealHead {
  readonly number: number;
  readonly digest: string;
  readonly operations: number;
  readonly sealedAtMs: number;
  readonly keyId: string;
}

/** The sealed history of what operators changed, for whoever audits it. */
export class Audits {
  readonly #ledger: Pick<Ledger, "readAuditHead" | "readSeals" | "readUnsealed">;
  readonly #sealing: Sealing | null;

  constructor(ledger: Pick<Ledger, "readAuditHead" | "readSeals" | "readUnsealed">, sealing: Sealing | null) {
    this.#ledger = ledger;
    this.#sealing = sealing;
  }

  /** What this hub signs with; null when it cannot. */
  get signer(): Pick<AuditSigner, "keyId" | "publicKeyPem"> | null {
    return this.#sealing?.signer ?? null;
  }

  async head({
    tenantId,
  }: Principal): Promise<
    { readonly seal: SealHead | null } & Pick<AuditHead, "waiting" | "oldestWaitingAtMs">
  > {
    const { seal, waiting, oldestWaitingAtMs } = await this.#ledger.readAuditHead(tenantId, waitingCountMax);
    return { seal: seal === null ? null : await toSealHead(seal), waiting, oldestWaitingAtMs };
  }

  /**
   * The lines of a bundle, each with its line feed.
   *
   * @param lastWanted null: all there is, and what is new is sealed first
   * @throws Fault AUDIT_KEY_MISSING, SEAL_NOT_FOUND
   */
  async *export(
    { tenantId, tenant }: Principal,
    first: number,
    lastWanted: number | null,
  ): AsyncGenerator<string> {
    if (!this.#sealing)
      throw new Fault(
        "AUDIT_KEY_MISSING",
        "This hub has no audit key, so it cannot sign a bundle: start it with --audit-key, or ask a hub that has one.",
      );
    const { signer, sealer } = this.#sealing;
    if (lastWanted === null) await sealer.seal(tenantId);
    const { last: newest, now } = await this.#ledger.readUnsealed(tenantId, 0);
    const last = lastWanted ?? newest.number;
    if (Math.max(first - 1, last) > newest.number)
      throw new Fault("SEAL_NOT_FOUND", `The newest seal is ${newest.number}.`, {
        newest: String(newest.number),
      });

    const whole = new LinesDigest();
    const line = (text: string) => {
      whole.add(text);
      return `${text}\n`;
    };
    yield line(startLine({ bundle: bundleFormat, tenant, first, last }));
    let head = "";
    for (let from = first; from <= last; from += sealsPerRead) {
      const seals = await this.#ledger.readSeals(tenantId, from, Math.min(sealsPerRead, last - from + 1));
      for (const { seal, operations } of seals) {
        yield line(sealLine(seal));
        for (const operation of operations) yield line(operationLine(operation));
        head = digestOfSeal(seal);
      }
    }
    const end: BundleEnd = { tenant, first, last, head, sha256: whole.toString(), exportedAt: now };
    yield `${endLine(await signer.sign("holdfast-bundle", end))}\n`;
  }
}

async function toSealHead(jws: string): Promise<SealHead> {
  const { number, operations, sealedAt } = (await readUnverified(jws, "holdfast-seal")) as Seal;
  return {
    number,
    digest: digestOfSeal(jws),
    operations: operations.count,
    sealedAtMs: Date.parse(sealedAt),
    keyId: keyIdIn(jws),
  };
}
