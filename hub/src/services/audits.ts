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

export interface AuditView extends Pick<AuditHead, "waiting" | "oldestWaitingAtMs"> {
  /** The newest; null before the first. */
  readonly seal: SealHead | null;
  /** Why this hub seals nothing more of the tenant; null while it does. */
  readonly changed: string | null;
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

  /** @throws Fault HISTORY_CHANGED when the newest seal is none */
  async head({ tenantId }: Principal): Promise<AuditView> {
    const { seal, waiting, oldestWaitingAtMs } = await this.#ledger.readAuditHead(tenantId, waitingCountMax);
    const changed = this.#sealing?.sealer.whyNot(tenantId) ?? null;
    return { seal: seal === null ? null : await toSealHead(seal), waiting, oldestWaitingAtMs, changed };
  }

  /**
   * The lines of a bundle, each with its line feed.
   *
   * @param lastWanted null: all there is, and what is new is sealed first
   * @throws Fault AUDIT_KEY_MISSING, SEAL_NOT_FOUND, HISTORY_CHANGED
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
    const { last: newest, seen: before, now } = await this.#ledger.readUnsealed(tenantId, first - 1, 0);
    const last = lastWanted ?? newest.number;
    if (Math.max(first - 1, last) > newest.number)
      throw new Fault("SEAL_NOT_FOUND", `The newest seal is ${newest.number}.`, {
        newest: String(newest.number),
      });

    if (first > 1 && before === null)
      throw new Fault("HISTORY_CHANGED", `Seal ${first - 1} is missing in the ledger.`, { tenant });

    const whole = new LinesDigest();
    const line = (text: string) => {
      whole.add(text);
      return `${text}\n`;
    };
    yield line(startLine({ bundle: bundleFormat, tenant, first, last }));
    let head = before === null ? "" : digestOfSeal(before);
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
  try {
    const { number, operations, sealedAt } = (await readUnverified(jws, "holdfast-seal")) as Seal;
    return {
      number,
      digest: digestOfSeal(jws),
      operations: operations.count,
      sealedAtMs: Date.parse(sealedAt),
      keyId: keyIdIn(jws),
    };
  } catch (cause) {
    throw new Fault("HISTORY_CHANGED", "The newest seal in the ledger is none.", {}, { cause });
  }
}
