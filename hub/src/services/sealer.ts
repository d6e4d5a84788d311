import { digestOfSeal, LinesDigest, operationLine, type Seal } from "../domain/audit.js";
import { Fault } from "../domain/fault.js";
import type { Ledger } from "../ledger/ledger.js";
import type { AuditSigner } from "./audit-key.js";
import { ChainWatch } from "./chain-watch.js";
import { Rounds } from "./rounds.js";

const roundMs = 1_000;
const operationsPerSealMax = 500;

export interface SealerObserver {
  /** The digest is what the next seal names this one by. */
  readonly sealed: (seal: Seal, digest: string) => void;
  /** How long the oldest operation waited at the beginning of a round; 0 when none did. */
  readonly waited: (oldestMs: number) => void;
}

type SealerLedger = Pick<
  Ledger,
  "readUnsealedTenants" | "readSealedTenants" | "readUnsealed" | "readSealTexts" | "writeSeal"
>;

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
  readonly #chains: ChainWatch;
  /** Tenants whose history was changed, and how; it is said once. */
  readonly #changed = new Map<number, string>();
  #hasLooked = false;
  #isStopping = false;

  constructor(
    ledger: SealerLedger,
    signer: AuditSigner,
    observer: SealerObserver,
    onError: (error: unknown) => void,
    intervalMs = roundMs,
  ) {
    this.#ledger = ledger;
    this.#signer = signer;
    this.#chains = new ChainWatch(ledger, signer.read);
    this.#observer = observer;
    this.#onError = onError;
    this.#rounds = new Rounds(() => this.#round(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  /** What is not sealed by then is sealed by another hub, or later. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#rounds.stop();
  }

  /**
   * Seals what there is of a tenant now.
   *
   * @throws Fault HISTORY_CHANGED when the chain does not go on from what this hub has seen of it
   */
  async seal(tenantId: number): Promise<void> {
    // One after the other: of two reads the one that began first may be answered last, and would look like an older history.
    const before = this.#turns.get(tenantId);
    const turn = (before ?? Promise.resolve()).catch(() => undefined).then(() => this.#sealAll(tenantId));
    this.#turns.set(tenantId, turn);
    try {
      await turn;
    } catch (error) {
      if (error instanceof Fault && error.reason === "HISTORY_CHANGED")
        this.#changed.set(tenantId, error.message);
      throw error;
    } finally {
      if (this.#turns.get(tenantId) === turn) this.#turns.delete(tenantId);
    }
  }

  /** Why nothing more of a tenant is sealed here; null while it is. */
  whyNot(tenantId: number): string | null {
    return this.#changed.get(tenantId) ?? null;
  }

  async #sealAll(tenantId: number): Promise<void> {
    while (!this.#isStopping) {
      const seenNumber = this.#chains.seen(tenantId);
      const found = await this.#ledger.readUnsealed(tenantId, seenNumber, operationsPerSealMax);
      await this.#chains.follow(tenantId, found);
      const { tenant, last, now, operations } = found;
      if (operations.length === 0) return;
      const lines = new LinesDigest();
      for (const operation of operations) lines.add(operationLine(operation));
      const number = last.number + 1;
      const seal: Seal = {
        tenant,
        number,
        previous: last.number === 0 ? "" : digestOfSeal(last.seal),
        operations: { count: operations.length, sha256: lines.toString() },
        sealedAt: now,
      };
      const signed = await this.#signer.sign("holdfast-seal", seal);
      const ids = operations.map(({ operationId }) => operationId);
      if (!(await this.#ledger.writeSeal(tenantId, number, signed, ids))) continue;
      this.#chains.made(tenantId, { tenant, number, seal: signed });
      this.#observer.sealed(seal, digestOfSeal(signed));
    }
  }

  async #round(): Promise<void> {
    const waiting = await this.#ledger.readUnsealedTenants();
    const nowMs = Date.now();
    this.#observer.waited(Math.max(0, ...waiting.map(({ oldestMs }) => nowMs - oldestMs)));
    // Once, so that this hub has seen what there is: what is cut off from now on it can tell.
    const others = this.#hasLooked ? [] : await this.#ledger.readSealedTenants();
    this.#hasLooked = true;
    for (const tenantId of new Set([...waiting.map((tenant) => tenant.tenantId), ...others])) {
      if (this.#isStopping) return;
      if (this.#changed.has(tenantId)) continue;
      await this.seal(tenantId).catch(this.#onError);
    }
  }
}
