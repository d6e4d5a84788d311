import fc from "fast-check";
import { expect, test } from "vitest";
import { concurrencies, isSaturated, type Step, saturationOf } from "./saturation.js";

const stepsOf = (...rates: number[]): Step[] =>
  rates.map((callsPerSecond, at) => ({ concurrency: concurrencies[at] as number, callsPerSecond }));

test("the saturation point is the least concurrency that comes within a tenth of the peak", () => {
  expect(saturationOf(stepsOf(1_000, 1_900, 3_500, 3_800, 3_700))).toEqual({
    peakPerSecond: 3_800,
    concurrency: 4,
  });
});

test.each([
  ["while the rate grows", [100, 200, 390, 700], false],
  ["after one step without gain", [100, 200, 205], false],
  ["after two steps without gain", [100, 200, 205, 190], true],
  ["when it falls", [100, 60, 50], true],
  ["with too few steps to tell", [100, 100], false],
])("the search %s", (_when, rates, ends) => {
  expect(isSaturated(stepsOf(...rates))).toBe(ends);
});

test("the peak is the best step, and its concurrency is not below the saturation point", () => {
  const rates = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(rates, (some) => {
      const steps = stepsOf(...some);
      const { peakPerSecond, concurrency } = saturationOf(steps);
      const peak = steps.find(({ callsPerSecond }) => callsPerSecond === peakPerSecond);
      expect(peakPerSecond).toBe(Math.max(...some));
      expect(concurrency).toBeLessThanOrEqual(peak?.concurrency ?? 0);
    }),
  );
});

test("nothing done is an error, not a saturation at nothing", () => {
  expect(() => saturationOf([])).toThrow(RangeError);
  expect(() => saturationOf(stepsOf(0, 0))).toThrow(RangeError);
});
