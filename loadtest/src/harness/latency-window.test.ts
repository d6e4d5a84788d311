import { expect, test } from "vitest";
import { latencyWindow } from "./latency-window.js";

test("percentiles are those of the window, and what is older is forgotten", () => {
  const window = latencyWindow(30_000);
  window.add(0, 9_999);
  for (let latency = 1; latency <= 100; latency += 1) window.add(31_000, latency);
  expect(window.read(40_000)).toEqual({ p50: 50, p95: 95, p99: 99 });
  expect(window.read(70_000)).toBeNull();
});

test("nothing measured is null, not a latency of 0", () => {
  expect(latencyWindow(30_000).read(1_000)).toBeNull();
});

test("at a rate beyond its room it keeps an even share, and percentiles stay right", () => {
  const window = latencyWindow(30_000);
  for (let at = 0; at < 1_000_000; at += 1) window.add(at / 100, at % 100);
  const read = window.read(10_000);
  expect(read?.p50).toBeGreaterThanOrEqual(45);
  expect(read?.p50).toBeLessThanOrEqual(55);
});
