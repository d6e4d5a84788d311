/**
 * Hands out places in lanes: microseconds since 1970, strictly rising within one hub even when the clock stands
 * still or steps back.
 */
export class ReadyClock {
  #last = 0;

  /** Reserves `count` places and returns the first; the others follow it one by one. */
  next(nowMs: number, count: number): number {
    const first = Math.max(nowMs * 1000, this.#last + 1);
    this.#last = first + count - 1;
    return first;
  }
}
