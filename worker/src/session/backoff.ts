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

/** What attachments in a row that did not last have come to. A round is one attempt at each hub of the list. */
export type FailureRow = {
  readonly roundsFailed: number;
  /** Attempts of the round under way. */
  readonly attempts: number;
  /** The shortest wait that a hub of this round asked for, in milliseconds. */
  readonly retryAfterMs: number;
};

export const noFailures: FailureRow = { roundsFailed: 0, attempts: 0, retryAfterMs: 0 };

/**
 * The row once another attachment has ended that was live for `liveMs` (0: never got that far). With `attempts` 0 the
 * round is over, and a delay is due; before, the next hub is tried at once.
 */
export function countFailure(
  policy: BackoffPolicy,
  row: FailureRow,
  hubs: number,
  end: { readonly liveMs: number; readonly retryAfterMs: number },
): FailureRow {
  const { roundsFailed, attempts, retryAfterMs } = end.liveMs >= policy.resetAfterMs ? noFailures : row;
  const least = attempts === 0 ? end.retryAfterMs : Math.min(retryAfterMs, end.retryAfterMs);
  return attempts + 1 < hubs
    ? { roundsFailed, attempts: attempts + 1, retryAfterMs: least }
    : { roundsFailed: roundsFailed + 1, attempts: 0, retryAfterMs: least };
}
