import fc from "fast-check";
import { expect, it } from "vitest";
import {
  defaultScoreWeights,
  mergeWeights,
  type ScoreWeights,
  scoreWeightMax,
  scoreWeightNames,
} from "./score-weights.js";

const weight = fc.double({ min: -scoreWeightMax, max: scoreWeightMax, noNaN: true });
const some: fc.Arbitrary<Partial<ScoreWeights>> = fc.record(
  { age: weight, priority: weight, retries: weight, capabilities: weight },
  { requiredKeys: [] },
);

it("weights merge field by field: the claim's own above the product's above the defaults", () => {
  fc.assert(
    fc.property(some, some, (product, claim) => {
      const merged = mergeWeights(defaultScoreWeights, product, claim);
      for (const name of scoreWeightNames)
        expect(merged[name]).toBe(claim[name] ?? product[name] ?? defaultScoreWeights[name]);
    }),
  );
});

it("a weight of 0 is a weight, and not one that was left out", () => {
  expect(mergeWeights(defaultScoreWeights, { age: 0 }, {})).toEqual({ ...defaultScoreWeights, age: 0 });
});
