/** How long to wait between attempts to attach. */
export type BackoffPolicy = {
  /** Bound of the first delay. */
  readonly firstMs: number;
  /** Bound of every delay. */
  readonly maxMs: number;
  /** An attachment that lived this long counts as healthy: the next delay is the first again. */
  readonly resetAfterMs: number;
};

/**
 * The delay after the `failures`-th attachment in a row that did not last (counted from 1): twice the bound of the one
 * before it, drawn evenly between half of the bound and all of it, so that workers which lost the same hub do not come
 * back in step.
 *
 * @param random from 0 to 1
 */
export function backoffMs(policy: BackoffPolicy, failures: number, random: number): number {
  const bound = Math.min(policy.maxMs, policy.firstMs * 2 ** Math.max(0, failures - 1));
  return bound / 2 + (bound / 2) * random;
}

/** Failures in a row once another attachment has ended that was live for `liveMs` (0: never got that far). */
export function countFailure(policy: BackoffPolicy, failures: number, liveMs: number): number {
  return liveMs >= policy.resetAfterMs ? 1 : failures + 1;
}
