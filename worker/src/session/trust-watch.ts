import { extendTrust, type Trust, trustAt } from "./trust-window.js";

/** Tells when the trust window has passed, and sees to leases in doubt, with one timer for the whole session. */
export class TrustWatch {
  readonly #onPassed: (since: number) => void;
  readonly #expire: (now: number) => number | undefined;
  #trust: Trust = { state: "unheard" };
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param onPassed the window has passed
   * @param expire gives up what may not go on in doubt at `now`, and returns when it next has to look; undefined: never
   */
  constructor(onPassed: (since: number) => void, expire: (now: number) => number | undefined) {
    this.#onPassed = onPassed;
    this.#expire = expire;
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
    const now = performance.now();
    const before = this.#trust;
    this.#trust = trustAt(before, now);
    if (before.state === "trusted" && this.#trust.state === "passed") this.#onPassed(this.#trust.since);
    const limit = this.#expire(now) ?? Number.POSITIVE_INFINITY;
    const next = this.#trust.state === "trusted" ? Math.min(limit, this.#trust.until) : limit;
    if (next === Number.POSITIVE_INFINITY) return;
    // Timers cannot be set further ahead than 2^31 ms; a look in between does no harm.
    const delayMs = Math.min(Math.max(1, Math.ceil(next - now)), 0x7fff_ffff);
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
