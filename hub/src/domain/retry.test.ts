import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs, defaultRetryPolicy, type RetryPolicy } from "./retry.js";

const policies: fc.Arbitrary<RetryPolicy> = fc.record({
  maxAttempts: fc.integer({ min: 1, max: 1_000 }),
  initialBackoffMs: fc.integer({ min: 0, max: 86_400_000 }),
  factor: fc.double({ min: 1, max: 100, noNaN: true }),
  maxBackoffMs: fc.integer({ min: 0, max: 7 * 86_400_000 }),
});
const attempts = fc.integer({ min: 1, max: 1_000 });
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const waits = fc.integer({ min: 0, max: 86_400_000 });

/** The delay without jitter and without a wish of the failure: what random tends to at 1. */
function whole(policy: RetryPolicy, attempt: number): number {
  if (policy.initialBackoffMs === 0) return 0;
  return Math.min(policy.initialBackoffMs * policy.factor ** (attempt - 1), policy.maxBackoffMs);
}

describe("the backoff before a retry (D8)", () => {
  it("lies between half of the grown delay and all of it", () => {
    fc.assert(
      fc.property(policies, attempts, randoms, (policy, attempt, random) => {
        const delayMs = backoffMs(policy, attempt, random, 0);
        expect(delayMs).toBeGreaterThanOrEqual(Math.floor(whole(policy, attempt) / 2));
        expect(delayMs).toBeLessThanOrEqual(Math.ceil(whole(policy, attempt)));
      }),
    );
  });

  it("never shrinks from one attempt to the next, and never passes its maximum", () => {
    fc.assert(
      fc.property(policies, attempts, randoms, (policy, attempt, random) => {
        const delayMs = backoffMs(policy, attempt, random, 0);
        expect(backoffMs(policy, attempt + 1, random, 0)).toBeGreaterThanOrEqual(delayMs);
        expect(delayMs).toBeLessThanOrEqual(policy.maxBackoffMs);
      }),
    );
  });

  it("is never less than what the failure asked for, and that alone when it is more", () => {
    fc.assert(
      fc.property(policies, attempts, randoms, waits, (policy, attempt, random, retryAfterMs) => {
        const own = backoffMs(policy, attempt, random, 0);
        expect(backoffMs(policy, attempt, random, retryAfterMs)).toBe(Math.max(own, retryAfterMs));
      }),
    );
  });

  it("is a whole, finite number of milliseconds for the last of a thousand attempts", () => {
    const steep: RetryPolicy = { ...defaultRetryPolicy, maxAttempts: 1_000, factor: 100 };

    expect(backoffMs(steep, 1_000, 0.5, 0)).toBe(225_000);
    expect(backoffMs({ ...steep, initialBackoffMs: 0 }, 1_000, 0.5, 0)).toBe(0);
  });

  it.each([
    { attempt: 1, least: 500, most: 1_000 },
    { attempt: 2, least: 1_000, most: 2_000 },
    { attempt: 4, least: 4_000, most: 8_000 },
    { attempt: 20, least: 150_000, most: 300_000 },
  ])("by default is $least to $most ms after attempt $attempt", ({ attempt, least, most }) => {
    expect(backoffMs(defaultRetryPolicy, attempt, 0, 0)).toBe(least);
    expect(backoffMs(defaultRetryPolicy, attempt, 0.999_999, 0)).toBe(most);
  });
});
