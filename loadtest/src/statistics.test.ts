import fc from "fast-check";
import { expect, test } from "vitest";
import { latenciesOf, spreadOf } from "./statistics.js";

const measurements = fc.array(fc.double({ noNaN: true, min: 0, max: 1e9 }), { minLength: 1 });

test("the median of an odd number of rounds is the middle one, of an even number the mean of both", () => {
  expect(spreadOf([30, 10, 20])).toEqual({ median: 20, min: 10, max: 30 });
  expect(spreadOf([40, 10, 20, 30])).toEqual({ median: 25, min: 10, max: 40 });
});

test("a percentile is a value that was measured, with at most the rest above it", () => {
  fc.assert(
    fc.property(measurements, (values) => {
      const { p50, p90, p99, max } = latenciesOf(values);
      for (const [share, value] of [
        [0.5, p50],
        [0.9, p90],
        [0.99, p99],
      ] as const) {
        expect(values).toContain(value);
        const above = values.filter((other) => other > value).length;
        expect(above).toBeLessThanOrEqual((1 - share) * values.length + 1e-9);
      }
      expect(max).toBe(values.reduce((most, value) => Math.max(most, value)));
    }),
  );
});

test("nothing measured is an error, not a zero", () => {
  expect(() => spreadOf([])).toThrow(RangeError);
  expect(() => latenciesOf([])).toThrow(RangeError);
});
