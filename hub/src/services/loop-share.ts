/** Keeps work that nobody waits for from displacing work that somebody does, on the hub's one thread. */
export class LoopShare {
  readonly #busyAbove: number;
  readonly #share: number;
  #seen = performance.eventLoopUtilization();

  /**
   * @param busyAbove utilization of the event loop, 0 to 1, from which on room is made
   * @param share of the time that the work then takes, at most 1
   */
  constructor(busyAbove: number, share: number) {
    this.#busyAbove = busyAbove;
    this.#share = share;
  }

  /** How long to wait after a step of the work that took so long. */
  pauseMsAfter(stepMs: number): number {
    const since = this.#seen;
    this.#seen = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(this.#seen, since);
    return utilization < this.#busyAbove ? 0 : stepMs * (1 / this.#share - 1);
  }
}
