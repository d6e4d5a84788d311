import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs, countFailure } from "./backoff.js";

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

test("only an attachment that lasted ends the row of failures; a short one lengthens it", () => {
  expect(countFailure(policy, 0, 0)).toBe(1);
  expect(countFailure(policy, 4, 0)).toBe(5);
  expect(countFailure(policy, 4, 29_999)).toBe(5);
  expect(countFailure(policy, 4, 30_000)).toBe(1);
});
