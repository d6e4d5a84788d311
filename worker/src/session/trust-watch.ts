import { lookEveryMs, type TrustClock } from "../trust-clock.js";
import { extendTrust, type Trust, trustAt } from "./trust-window.js";

/**
 * Tells when the trust window has passed, and sees to leases in doubt, with one timer for the whole session. While there is
 * anything to tell it looks every second: of a machine that wakes from sleep only the clock knows, and no timer.
 */
export class TrustWatch {
  readonly #onPassed: (since: number) => void;
  readonly #expire: (now: number) => number | undefined;
  readonly #clock: TrustClock;
  #trust: Trust = { state: "unheard" };
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param onPassed the window has passed
   * @param expire gives up what may not go on in doubt at `now`, and returns when it next has to look; undefined: never
   * @param clock the one that all times given here were read from
   */
  constructor(
    onPassed: (since: number) => void,
    expire: (now: number) => number | undefined,
    clock: TrustClock,
  ) {
    this.#onPassed = onPassed;
    this.#expire = expire;
    this.#clock = clock;
  }

  /** A hub welcomed the worker: a window that had passed is open again. */
  welcomed(until: number): void {
    this.#trust = extendTrust(this.#trust, until);
    this.look();
  }

  /** A hub was heard. That moves the end of the window, but does not open one that has passed. */
  heard(until: number): void {
    if (this.#trust.state === "trusted") this.#trust = extendTrust(this.#trust, until);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Looks now, and again when the next thing is due. An end that has moved on meanwhile only costs a look. */
  look(): void {
    this.stop();
    const now = this.#clock.now();
    const before = this.#trust;
    this.#trust = trustAt(before, now);
    if (before.state === "trusted" && this.#trust.state === "passed") this.#onPassed(this.#trust.since);
    const limit = this.#expire(now) ?? Number.POSITIVE_INFINITY;
    const next = this.#trust.state === "trusted" ? Math.min(limit, this.#trust.until) : limit;
    if (next === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.min(Math.max(1, Math.ceil(next - now)), lookEveryMs);
    this.#timer = setTimeout(() => this.#lookSoon(), delayMs);
  }

  /** After a pause of this process an echo may be waiting in the socket: what waits is read first. */
  #lookSoon(): void {
    const timer = this.#timer;
    setImmediate(() => {
      if (this.#timer === timer) this.look();
    });
  }
}
