import type { Ledger } from "../ledger/ledger.js";
import { Rounds } from "./rounds.js";
import type { Sessions } from "./sessions.js";
import type { WorkerSession } from "./worker-session.js";

const intervalMs = 500;

/**
 * Forgets in the ledger the deliveries all of whose jobs are done, but for the newest of a session: it alone tells another
 * hub how far the numbers have come, as long as no heartbeat has. A record that stays too long harms nobody: whoever looks
 * through the deliveries of a lost session finds no lease of it. So they go now and then, in small batches that no call
 * waits long for; where the ledger is away, with the next round.
 */
export class SettledDeliveries {
  readonly #ledger: Pick<Ledger, "settleDeliveries">;
  readonly #sessions: Pick<Sessions, "all">;
  readonly #rounds: Rounds;

  constructor(
    ledger: Pick<Ledger, "settleDeliveries">,
    sessions: Pick<Sessions, "all">,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#sessions = sessions;
    this.#rounds = new Rounds(() => this.#settle(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  async #settle(): Promise<void> {
    const settled: { readonly session: WorkerSession; readonly delivery: number }[] = [];
    for (const session of this.#sessions.all())
      for (const delivery of session.takeSettledDeliveries()) settled.push({ session, delivery });
    if (settled.length === 0) return;
    try {
      await this.#ledger.settleDeliveries(
        settled.map(({ session: { sessionId }, delivery }) => ({ sessionId, delivery })),
      );
    } catch (error) {
      for (const { session, delivery } of settled) session.putBackSettledDeliveries([delivery]);
      throw error;
    }
  }
}
