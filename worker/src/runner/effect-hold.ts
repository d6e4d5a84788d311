import { EffectLostError } from "../job-errors.js";
import { lookEveryMs, type TrustClock } from "../trust-clock.js";

/** The part of the lease that is not relied on: the hub's clock may run a little faster. */
const marginShare = 0.1;
const renewalsPerTtl = 3;

/**
 * The lease of an effect while its function runs: renewed a few times per TTL, and given up when the hub says so or is
 * not heard for so long that another may hold the effect.
 *
 *     held ──renewed──► held          held ──refused, not renewed in time──► lost (signal aborted)
 *       └──stop──► stopped
 */
export class EffectHold {
  readonly #abortion = new AbortController();
  readonly #renewing: NodeJS.Timeout;
  readonly #clock: TrustClock;
  #expiring: NodeJS.Timeout | undefined;
  #isOver = false;

  /** @param renew asks the hub; resolves to the time left, or rejects when it is not this worker's any more */
  constructor(ttlMs: number, { clock, askedAt, timeLeftMs }: EffectGrant, renew: () => Promise<number>) {
    this.#clock = clock;
    let isOpen = false;
    this.#renewing = setInterval(() => {
      if (isOpen) return;
      isOpen = true;
      const sentAt = clock.now();
      renew()
        .then(
          (leftMs) => this.#trust(sentAt, leftMs),
          (error: Error) => this.#lose(error),
        )
        .finally(() => {
          isOpen = false;
        });
    }, ttlMs / renewalsPerTtl);
    this.#trust(askedAt, timeLeftMs);
  }

  get signal(): AbortSignal {
    return this.#abortion.signal;
  }

  /** The function has ended. */
  stop(): void {
    this.#isOver = true;
    clearInterval(this.#renewing);
    clearTimeout(this.#expiring);
  }

  #lose(reason: Error): void {
    if (this.#isOver) return;
    this.stop();
    this.#abortion.abort(reason);
  }

  #trust(since: number, leftMs: number): void {
    clearTimeout(this.#expiring);
    if (!this.#isOver) this.#look(since + leftMs * (1 - marginShare));
  }

  /** Looks now and then: the machine may have slept, and a timer does not know. */
  #look(until: number): void {
    const leftMs = until - this.#clock.now();
    if (leftMs <= 0) this.#lose(new EffectLostError("the lease of the effect could not be renewed in time"));
    else this.#expiring = setTimeout(() => this.#look(until), Math.min(Math.ceil(leftMs), lookEveryMs));
  }
}

/** What a hub granted: `timeLeftMs` from `askedAt` on, which was read from `clock`. */
export type EffectGrant = {
  readonly clock: TrustClock;
  readonly askedAt: number;
  readonly timeLeftMs: number;
};
