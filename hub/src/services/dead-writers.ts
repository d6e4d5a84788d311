import type { Ledger } from "../ledger/ledger.js";
import { Rounds } from "./rounds.js";

const lookIntervalMs = 10_000;

/**
 * Ends the lives of hubs that are gone, so that their pages of events are complete. One that has lost its connection for
 * a moment is left alone: its lock must have been free at two looks.
 */
export class DeadWriters {
  readonly #ledger: Pick<Ledger, "listUnlockedWriters" | "settleWriter">;
  readonly #rounds: Rounds;
  #suspects: ReadonlySet<number> = new Set();

  constructor(
    ledger: Pick<Ledger, "listUnlockedWriters" | "settleWriter">,
    onError: (error: unknown) => void,
    intervalMs = lookIntervalMs,
  ) {
    this.#ledger = ledger;
    this.#rounds = new Rounds(() => this.#look(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  async #look(): Promise<void> {
    const unlocked = await this.#ledger.listUnlockedWriters();
    for (const writerId of unlocked)
      if (this.#suspects.has(writerId)) await this.#ledger.settleWriter(writerId);
    this.#suspects = new Set(unlocked);
  }
}
