import type { LaneBook } from "./lane-book.js";
import { Rounds } from "./rounds.js";

const intervalMs = 5_000;

/**
 * Lanes that other hubs made, and lanes that they say have work: a message brings both at once, a look into the ledger
 * now and then the former, and hungry sessions the latter.
 */
export class LaneNews {
  readonly #book: Pick<LaneBook, "get" | "loadNew">;
  readonly #hooks: { readonly starved: (laneId: number) => void; readonly dispatch: () => void };
  readonly #rounds: Rounds;

  constructor(
    book: Pick<LaneBook, "get" | "loadNew">,
    hooks: { readonly starved: (laneId: number) => void; readonly dispatch: () => void },
    onError: (error: unknown) => void,
  ) {
    this.#book = book;
    this.#hooks = hooks;
    this.#rounds = new Rounds(() => this.#look(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  wake(laneIds: readonly number[]): void {
    if (laneIds.some((laneId) => !this.#book.get(laneId))) this.#rounds.hurry();
    for (const laneId of laneIds) if (this.#book.get(laneId)) this.#hooks.starved(laneId);
    this.#hooks.dispatch();
  }

  lookNow(): void {
    this.#rounds.hurry();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /** Sessions that can serve a new lane are hungry for it then. */
  async #look(): Promise<void> {
    await this.#book.loadNew();
    this.#hooks.dispatch();
  }
}
