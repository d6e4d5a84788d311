/** Where the time comes from, in milliseconds. */
export type ClockSource = {
  /** Stands still while the machine sleeps, and never goes back. */
  monotonic(): number;
  /** Goes on while the machine sleeps; somebody may set it. */
  wall(): number;
};

const thisMachine: ClockSource = { monotonic: () => performance.now(), wall: () => Date.now() };

/**
 * How far the wall clock may get ahead between two looks before that counts as sleep: half of the least margin of the
 * trust window, so that what is missed leaves the other half for stopping handlers.
 */
const aheadMsMax = 250;

/** Who trusts in something looks at least this often, for timers stand still during sleep too. */
export const lookEveryMs = 1_000;

/**
 * The clock by which leases are trusted: monotonic, and with the time that the machine slept, which the monotonic clock of
 * Linux leaves out. How long that was is told by the wall clock, as far as it moved further than the other since the last
 * look. When it was set ahead instead, a lease is given up early, which does no harm; when it was set back, nothing
 * happens.
 */
export class TrustClock {
  readonly #source: ClockSource;
  #monotonicMs: number;
  #wallMs: number;
  #sleptMs = 0;

  constructor(source: ClockSource = thisMachine) {
    this.#source = source;
    this.#monotonicMs = source.monotonic();
    this.#wallMs = source.wall();
  }

  /** Each call is a look. */
  now(): number {
    const monotonicMs = this.#source.monotonic();
    const wallMs = this.#source.wall();
    const aheadMs = wallMs - this.#wallMs - (monotonicMs - this.#monotonicMs);
    if (aheadMs > aheadMsMax) this.#sleptMs += aheadMs;
    this.#monotonicMs = monotonicMs;
    this.#wallMs = wallMs;
    return monotonicMs + this.#sleptMs;
  }
}
