import { extendTrust, type Trust, trustAt } from "./trust-window.js";

/** Tells when the trust window has passed, with one timer for the whole session. */
export class TrustWatch {
  readonly #onPassed: (since: number) => void;
  readonly #expire: (since: number, now: number) => number | undefined;
  #trust: Trust = { state: "unheard" };
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param onPassed the window has passed
   * @param expire called while it stays so: gives up what may not go on at `now`, and returns when it next has to look;
   *   undefined for never
   */
  constructor(onPassed: (since: number) => void, expire: (since: number, now: number) => number | undefined) {
    this.#onPassed = onPassed;
    this.#expire = expire;
  }

  /** A hub was heard. Only its welcome can end a window that has passed: the leases were given up with it. */
  heard(until: number, isWelcome: boolean): void {
    if (this.#trust.state !== "trusted" && !isWelcome) return;
    this.#trust = extendTrust(this.#trust, until);
    if (this.#timer === undefined || isWelcome) this.#look();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** A window that has moved on meanwhile only costs a look at its former end. */
  #look(): void {
    this.stop();
    const now = performance.now();
    const before = this.#trust;
    this.#trust = trustAt(before, now);
    if (this.#trust.state === "unheard") return;
    if (this.#trust.state === "trusted") return this.#lookAt(this.#trust.until, now);
    if (before.state === "trusted") this.#onPassed(this.#trust.since);
    const next = this.#expire(this.#trust.since, now);
    if (next !== undefined) this.#lookAt(next, now);
  }

  #lookAt(time: number, now: number): void {
    // Timers cannot be set further ahead than 2^31 ms; a look in between does no harm.
    const delayMs = Math.min(Math.max(1, Math.ceil(time - now)), 0x7fff_ffff);
    this.#timer = setTimeout(() => this.#look(), delayMs);
  }
}
