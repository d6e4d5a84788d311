import type { Fault } from "../domain/fault.js";
import type { Ledger } from "../ledger/ledger.js";
import type { RenewItem, RenewResult } from "../ledger/renew-sessions.js";

interface Waiting {
  readonly item: RenewItem;
  readonly resolve: (result: RenewResult | Fault | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Renewals that follow each other this closely go to the ledger together. */
const gatherMs = 50;

/**
 * Renewals of sessions on their way to the ledger. The first goes at once; those that come in its wake wait a moment for
 * each other, because nothing waits for them but the echo of a heartbeat, and ten thousand workers send two thousand a
 * second. One that a call waits for goes at once, with all that wait.
 */
export class Renewals {
  readonly #ledger: Pick<Ledger, "renewSessions">;
  #waiting: Waiting[] = [];
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #sending: NodeJS.Timeout | undefined;

  constructor(ledger: Pick<Ledger, "renewSessions">) {
    this.#ledger = ledger;
  }

  renew(item: RenewItem, isAwaited: boolean): Promise<RenewResult | Fault | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (isAwaited) return this.flush();
      if (this.#sending) return;
      const pauseMs = this.#sentAtMs + gatherMs - performance.now();
      if (pauseMs > 0) this.#sending = setTimeout(() => this.flush(), pauseMs);
      else this.flush();
    });
  }

  /** What waits goes now. */
  flush(): void {
    clearTimeout(this.#sending);
    this.#sending = undefined;
    const sent = this.#waiting;
    if (sent.length === 0) return;
    this.#waiting = [];
    this.#sentAtMs = performance.now();
    this.#ledger.renewSessions(sent.map(({ item }) => item)).then(
      (results) => {
        for (const [at, { resolve }] of sent.entries()) resolve(results[at]);
      },
      (error: unknown) => {
        for (const { reject } of sent) reject(error);
      },
    );
  }
}
