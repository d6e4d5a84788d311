/**
 * Keeps work that nobody waits for from displacing work that somebody does, on the hub's one thread. After each step the
 * work rests, and what the thread does meanwhile is what others want of it: the work itself does not count.
 */
export class LoopShare {
  readonly #busyAbove: number;
  readonly #share: number;
  /** Of the event loop while the work rested, 0 to 1; newer rests count more. */
  #othersUtilization = 0;

  /**
   * @param busyAbove utilization of the event loop by others, 0 to 1, from which on room is made
   * @param share of the time that the work then takes, at most 1
   */
  constructor(busyAbove: number, share: number) {
    this.#busyAbove = busyAbove;
    this.#share = share;
  }

  /** Rests after a step of the work that took so long: briefly when others have little to do. */
  async rest(stepMs: number, pause: (ms: number) => Promise<void>): Promise<void> {
    const isBusy = this.#othersUtilization > this.#busyAbove;
    const before = performance.eventLoopUtilization();
    await pause(isBusy ? stepMs * (1 / this.#share - 1) : Math.max(breathMsMin, stepMs * breathShare));
    const { utilization } = performance.eventLoopUtilization(before);
    this.#othersUtilization += (utilization - this.#othersUtilization) * newestShare;
  }
}

const breathMsMin = 1;
/** Long enough to see whether anybody else wants the thread. */
const breathShare = 0.1;
const newestShare = 0.3;
