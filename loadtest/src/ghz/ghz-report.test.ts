import { expect, test } from "vitest";
import { countErrors, readGhzReport } from "./ghz-report.js";

const latencyDistribution = [10, 25, 50, 75, 90, 95, 99].map((percentage) => ({
  percentage,
  latency: percentage * 1_000_000,
}));

test("a report says its rate, percentiles in ms and what failed", () => {
  const errorDistribution = { "rpc error: code = Unavailable": 2, "rpc error: code = Aborted": 1 };
  const run = readGhzReport(
    JSON.stringify({ count: 100, rps: 12.5, latencyDistribution, errorDistribution }),
  );
  expect(run).toEqual({
    calls: 100,
    callsPerSecond: 12.5,
    p50Ms: 50,
    p95Ms: 95,
    p99Ms: 99,
    errors: errorDistribution,
  });
  expect(countErrors(run)).toBe(3);
});

test("a run in which every call failed is an error that names them, not a latency of nothing", () => {
  const text = JSON.stringify({
    count: 3,
    rps: 1,
    latencyDistribution: null,
    errorDistribution: { "no such job": 3 },
  });
  expect(() => readGhzReport(text)).toThrow(/did any call succeed\?\n3 × no such job/);
});
