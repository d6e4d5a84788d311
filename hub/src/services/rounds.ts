/** Does something again and again, with a pause after each time; never twice at once. */
export class Rounds {
  readonly #act: () => Promise<void>;
  readonly #pauseMs: number;
  readonly #onError: (error: unknown) => void;
  #next: NodeJS.Timeout | undefined;
  #acting: Promise<void> | undefined;
  #isHurried = false;
  #isStopped = true;

  constructor(act: () => Promise<void>, pauseMs: number, onError: (error: unknown) => void) {
    this.#act = act;
    this.#pauseMs = pauseMs;
    this.#onError = onError;
  }

  start(): void {
    this.#isStopped = false;
    this.#schedule(this.#pauseMs);
  }

  /** The next round begins now or, if one is under way, right after it. */
  hurry(): void {
    if (this.#acting) this.#isHurried = true;
    else this.#schedule(0);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#next);
    await this.#acting;
  }

  #schedule(afterMs: number): void {
    if (this.#isStopped) return;
    clearTimeout(this.#next);
    this.#next = setTimeout(() => {
      this.#acting = this.#act()
        .catch(this.#onError)
        .finally(() => {
          this.#acting = undefined;
          this.#schedule(this.#isHurried ? 0 : this.#pauseMs);
          this.#isHurried = false;
        });
    }, afterMs);
  }
}
