import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs, countFailure, type FailureRow, noFailures } from "./backoff.js";

const policy = { firstMs: 100, maxMs: 10_000, resetAfterMs: 30_000 };

test("the bound of the delay doubles with each failure, up to the largest", () => {
  const bounds = [1, 2, 3, 7, 8, 9, 500].map((failures) => backoffMs(policy, failures, 1));
  expect(bounds).toEqual([100, 200, 400, 6_400, 10_000, 10_000, 10_000]);
});

test("a delay is drawn between half of its bound and all of it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (failures, random) => {
        const bound = backoffMs(policy, failures, 1);
        const delay = backoffMs(policy, failures, random);
        expect(delay).toBeGreaterThanOrEqual(bound / 2);
        expect(delay).toBeLessThanOrEqual(bound);
      },
    ),
  );
});

/** The row after attachments that ended like this, from `row` on. */
function after(
  row: FailureRow,
  hubs: number,
  ...ends: { liveMs?: number; retryAfterMs?: number }[]
): FailureRow {
  const count = (before: FailureRow, end: { liveMs?: number; retryAfterMs?: number }) =>
    countFailure(policy, before, hubs, { liveMs: 0, retryAfterMs: 0, ...end });
  return ends.reduce(count, row);
}

test("only an attachment that lasted ends the row of failures; a short one lengthens it", () => {
  const fourth: FailureRow = { roundsFailed: 4, attempts: 0, retryAfterMs: 0 };
  expect(after(noFailures, 1, {}).roundsFailed).toBe(1);
  expect(after(fourth, 1, { liveMs: 29_999 }).roundsFailed).toBe(5);
  expect(after(fourth, 1, { liveMs: 30_000 }).roundsFailed).toBe(1);
});

test("a round is over when each hub has failed once since the last one that lasted", () => {
  const isOver = (...ends: { liveMs?: number }[]) => after(noFailures, 3, ...ends).attempts === 0;
  expect([isOver({}), isOver({}, {}), isOver({}, {}, {})]).toEqual([false, false, true]);
  expect(isOver({}, {}, { liveMs: 30_000 })).toBe(false);
  expect(after(noFailures, 3, {}, {}, {}, {}, {}, {}).roundsFailed).toBe(2);
});

test("after a round the hub that asked for the shortest wait is waited for", () => {
  expect(after(noFailures, 2, { retryAfterMs: 7_000 }, { retryAfterMs: 500 }).retryAfterMs).toBe(500);
  expect(after(noFailures, 2, { retryAfterMs: 7_000 }, {}).retryAfterMs).toBe(0);
});
