import { digestOfSeal, LinesDigest, operationLine, type Seal } from "../domain/audit.js";
import { Fault } from "../domain/fault.js";
import type { Unsealed } from "../ledger/audit.js";
import type { Ledger } from "../ledger/ledger.js";
import type { AuditSigner } from "./audit-key.js";
import { Rounds } from "./rounds.js";

const roundMs = 1_000;
const operationsPerSealMax = 500;
const waitingCountMax = 10_000;

export interface SealerObserver {
  /** The digest is what the next seal names this one by. */
  readonly sealed: (seal: Seal, digest: string) => void;
  /** How long the oldest operation waited at the beginning of a round; 0 when none did. */
  readonly waited: (oldestMs: number) => void;
}

type SealerLedger = Pick<Ledger, "readUnsealedTenants" | "readUnsealed" | "writeSeal">;

/**
 * Seals what operators changed, tenant by tenant, within about a second of the change (D22). Hubs do it side by side: of two
 * that make a seal of the same number, one is told so and begins again.
 */
export class Sealer {
  readonly #ledger: SealerLedger;
  readonly #signer: AuditSigner;
  readonly #observer: SealerObserver;
  readonly #onError: (error: unknown) => void;
  readonly #rounds: Rounds;
  /** Of each tenant that is being sealed, the last call. */
  readonly #turns = new Map<number, Promise<void>>();
  /** The newest seal of each tenant that this hub has seen. */
  readonly #seen = new Map<number, Unsealed["last"]>();
  /** Tenants of which that seal is gone; it is said once. */
  readonly #changed = new Set<number>();

  constructor(
    ledger: SealerLedger,
    signer: AuditSigner,
    observer: SealerObserver,
    onError: (error: unknown) => void,
    intervalMs = roundMs,
  ) {
    this.#ledger = ledger;
    this.#signer = signer;
    this.#observer = observer;
    this.#onError = onError;
    this.#rounds = new Rounds(() => this.#round(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /**
   * Seals what there is of a tenant now.
   *
   * @throws Fault HISTORY_CHANGED when seals that this hub has seen are gone: it does not sign another history
   */
  async seal(tenantId: number): Promise<void> {
    // One after the other: of two reads the one that began first may be answered last, and would look like an older history.
    const before = this.#turns.get(tenantId);
    const turn = (before ?? Promise.resolve()).catch(() => undefined).then(() => this.#sealAll(tenantId));
    this.#turns.set(tenantId, turn);
    try {
      await turn;
    } finally {
      if (this.#turns.get(tenantId) === turn) this.#turns.delete(tenantId);
    }
  }

  async #sealAll(tenantId: number): Promise<void> {
    for (;;) {
      const { tenant, last, now, operations } = await this.#ledger.readUnsealed(
        tenantId,
        operationsPerSealMax,
      );
      this.#compare(tenantId, tenant, last);
      if (operations.length === 0) return;
      const lines = new LinesDigest();
      for (const operation of operations) lines.add(operationLine(operation));
      const seal: Seal = {
        tenant,
        number: last.number + 1,
        previous: last.number === 0 ? "" : digestOfSeal(last.seal),
        operations: { count: operations.length, sha256: lines.toString() },
        sealedAt: now,
      };
      const signed = await this.#signer.sign("holdfast-seal", seal);
      const ids = operations.map(({ operationId }) => operationId);
      if (!(await this.#ledger.writeSeal(tenantId, seal.number, signed, ids))) continue;
      this.#seen.set(tenantId, { number: seal.number, seal: signed });
      this.#observer.sealed(seal, digestOfSeal(signed));
    }
  }

  #compare(tenantId: number, tenant: string, last: Unsealed["last"]): void {
    const seen = this.#seen.get(tenantId);
    if (seen && (last.number < seen.number || (last.number === seen.number && last.seal !== seen.seal)))
      throw new Fault(
        "HISTORY_CHANGED",
        `The sealed history of tenant ${tenant} was changed: seal ${seen.number}, ${digestOfSeal(seen.seal)}, is not in the ledger any more. This hub seals nothing more of it until it is restarted.`,
        { seal: `${seen.number}:${digestOfSeal(seen.seal)}` },
      );
    this.#seen.set(tenantId, last);
  }

  async #round(): Promise<void> {
    const tenants = await this.#ledger.readUnsealedTenants(waitingCountMax);
    const nowMs = Date.now();
    this.#observer.waited(Math.max(0, ...tenants.map(({ oldestMs }) => nowMs - oldestMs)));
    for (const { tenantId } of tenants) {
      if (this.#changed.has(tenantId)) continue;
      await this.seal(tenantId).catch((error: unknown) => {
        if (error instanceof Fault && error.reason === "HISTORY_CHANGED") this.#changed.add(tenantId);
        this.#onError(error);
      });
    }
  }
}
