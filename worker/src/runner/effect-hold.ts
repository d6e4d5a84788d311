import { EffectLostError } from "../job-errors.js";

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
  #expiring: NodeJS.Timeout;
  #isOver = false;

  /** @param renew asks the hub; resolves to the time left, or rejects when it is not this worker's any more */
  constructor(ttlMs: number, grantedAt: number, timeLeftMs: number, renew: () => Promise<number>) {
    this.#expiring = this.#expireAfter(grantedAt, timeLeftMs);
    let isOpen = false;
    this.#renewing = setInterval(() => {
      if (isOpen) return;
      isOpen = true;
      const sentAt = performance.now();
      renew()
        .then(
          (leftMs) => {
            clearTimeout(this.#expiring);
            if (!this.#isOver) this.#expiring = this.#expireAfter(sentAt, leftMs);
          },
          (error: Error) => this.#lose(error),
        )
        .finally(() => {
          isOpen = false;
        });
    }, ttlMs / renewalsPerTtl);
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

  #expireAfter(sinceMs: number, leftMs: number): NodeJS.Timeout {
    const trustedMs = sinceMs + leftMs * (1 - marginShare) - performance.now();
    return setTimeout(
      () => this.#lose(new EffectLostError("the lease of the effect could not be renewed in time")),
      Math.max(0, trustedMs),
    );
  }
}
