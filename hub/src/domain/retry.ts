import { classOf, type FailureClass, type FailureText } from "./failure-class.js";

/** How failures of a job are retried. Times in milliseconds. */
export interface RetryPolicy {
  /** Attempts in all, the first included: 1 to 1000. */
  readonly maxAttempts: number;
  /** Delay after the first failure: 0 to 24 h. */
  readonly initialBackoffMs: number;
  /** Growth per failure: 1 to 100. */
  readonly factor: number;
  /** Bound of the delay: at most 7 days. */
  readonly maxBackoffMs: number;
  /** Failures that are not retried, by code and by class. */
  readonly permanentCodes?: readonly string[];
  readonly permanentClasses?: readonly FailureClass[];
}

export const defaultRetryPolicy: RetryPolicy = {
  maxAttempts: 5,
  initialBackoffMs: 1_000,
  factor: 2,
  maxBackoffMs: 300_000,
};

/** Whether the policy says of a failure that trying again cannot help. */
export function isPermanent(
  { permanentCodes, permanentClasses }: RetryPolicy,
  failure: FailureText,
): boolean {
  if (permanentCodes?.includes(failure.code)) return true;
  return permanentClasses?.includes(classOf(failure)) ?? false;
}

/**
 * Delay before the next attempt, in milliseconds: exponential with equal jitter, that is uniform between half
 * of min(initial · factor^(attempt − 1), max) and all of it (Brooker, "Exponential Backoff And Jitter", 2015),
 * and never less than what the failure itself asked for.
 *
 * @param attempt the attempt that failed, from 1
 * @param random uniform in [0, 1)
 * @param retryAfterMs what the failure asked for; 0 for nothing
 */
export function backoffMs(
  policy: RetryPolicy,
  attempt: number,
  random: number,
  retryAfterMs: number,
): number {
  // Growth past all numbers is bounded first: no delay at all stays none.
  const growth = Math.min(policy.factor ** (attempt - 1), Number.MAX_VALUE);
  const grown = policy.initialBackoffMs * growth;
  const bounded = Math.min(grown, policy.maxBackoffMs);
  return Math.max(Math.round(bounded / 2 + (bounded / 2) * random), retryAfterMs);
}
