import { expect, test } from "vitest";
import { comparisonTable, endRate } from "./comparison.js";
import type { Lived } from "./live-heat.js";

const heat = (contestant: string, variant: string, perSecond: number[]): Lived & { variant: string } => ({
  contestant,
  variant,
  round: 1,
  committed: 1_000,
  jobsPerSecond: perSecond.reduce((sum, rate) => sum + rate, 0) / perSecond.length,
  walBytesPerJob: 1_000,
  commitsPerJob: 0.01,
  deadRows: 7,
  perSecond,
});

test("the end is the last quarter of the time, at least its last second", () => {
  expect(endRate([900, 900, 900, 900, 900, 900, 100, 200])).toBe(150);
  expect(endRate([900, 300])).toBe(300);
});

test("a variant is compared with the same contestant's first, on the whole and at the end", () => {
  const variants = [
    { name: "clean", title: "clean" },
    { name: "held", title: "held" },
  ];
  const racers = [
    { name: "holdfast", title: "Holdfast" },
    { name: "other", title: "Other" },
  ];
  const { rows } = comparisonTable(racers, variants, [
    heat("holdfast", "clean", [100, 100, 100, 100]),
    heat("holdfast", "held", [100, 100, 100, 60]),
    heat("other", "clean", [1_000, 1_000, 1_000, 1_000]),
    heat("other", "held", [500, 500, 500, 100]),
  ]);
  expect(rows.map((row) => [row[0], row[1], row[4], row[6]])).toEqual([
    ["Holdfast", "clean", "1.00", "1.00"],
    ["Holdfast", "held", "0.90", "0.60"],
    ["Other", "clean", "1.00", "1.00"],
    ["Other", "held", "0.40", "0.10"],
  ]);
});
