import type { Ledger } from "../ledger/ledger.js";
import type { WorkerSession } from "./worker-session.js";

/**
 * How far workers had acknowledged travels to the ledger with their heartbeats. Of one that may send none any more it is
 * saved here: whoever takes its leases back must know which may have started (D6), or a job that kills its workers at
 * once would cost no attempt, for ever.
 */
export class Acknowledgements {
  readonly #ledger: Pick<Ledger, "saveAcknowledgement">;
  readonly #onError: (error: unknown) => void;

  constructor(ledger: Pick<Ledger, "saveAcknowledgement">, onError: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#onError = onError;
  }

  /** Where the ledger is away, it is tried again with the next call. */
  save(session: WorkerSession): void {
    const { sessionId, epoch, deliveredThrough, savedThrough } = session;
    if (deliveredThrough <= savedThrough || session.leases.size === 0) return;
    session.savedThrough = deliveredThrough;
    this.#ledger.saveAcknowledgement({ sessionId, epoch, deliveredThrough }).catch((error: unknown) => {
      session.savedThrough = savedThrough;
      this.#onError(error);
    });
  }
}
