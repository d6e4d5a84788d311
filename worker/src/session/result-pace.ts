import type { EncodedResults } from "../wire/result-batch.js";

/** From so many results on, waiting for more would not make them any cheaper. */
const gatheredResultsMax = 64;

/**
 * Lets results that end close together travel together: one write to the journal, one message, one commit. Results
 * go on at once when none have for `paceMs`; otherwise when that time is over, or when enough have gathered.
 *
 *     calm ──results──► pacing (these go at once) ──paceMs, none came──► calm
 *                        │  ▲
 *                        └──┘ paceMs, or enough: those that came go
 *
 * This is the session's side: on the runner's thread a handler that blocks would hold finished results up.
 */
export class ResultPace {
  readonly #paceMs: number;
  readonly #pass: (results: EncodedResults) => void;
  #gathered: EncodedResults[] = [];
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param pass takes what goes on, in order */
  constructor(paceMs: number, pass: (results: EncodedResults) => void) {
    this.#paceMs = paceMs;
    this.#pass = pass;
  }

  add(results: EncodedResults): void {
    this.#gathered.push(results);
    this.#count += results.refs.length;
    if (this.#timer === undefined || this.#count >= gatheredResultsMax) this.#go();
  }

  /** Nothing waits any longer: what follows must not overtake it. */
  flush(): void {
    if (this.#count > 0) this.#go();
  }

  close(): void {
    this.flush();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #go(): void {
    const gathered = this.#gathered;
    this.#gathered = [];
    this.#count = 0;
    for (const results of gathered) this.#pass(results);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, this.#paceMs);
  }
}
