import { expect, test } from "vitest";
import { formatElapsed, formatLatency, formatRelative } from "./elapsed.js";

test.each([
  [0, "0 ms"],
  [999, "999 ms"],
  [1_000, "1 s"],
  [59_999, "59 s"],
  [60_000, "1 min"],
  [3_600_000, "1 h"],
  [86_400_000, "1 d"],
  [400 * 86_400_000, "400 d"],
])("%d ms is %s", (elapsedMs, text) => {
  expect(formatElapsed(elapsedMs)).toBe(text);
});

test.each([
  [0.4211, "0.42 ms"],
  [4.2, "4.2 ms"],
  [42.4, "42 ms"],
  [1_234, "1.23 s"],
])("a latency of %d ms is written as %s", (latencyMs, text) => {
  expect(formatLatency(latencyMs)).toBe(text);
});

test("a moment is told relative to now, both ways", () => {
  expect(formatRelative(100_000, 100_500)).toBe("now");
  expect(formatRelative(100_000, 105_000)).toBe("5 s ago");
  expect(formatRelative(220_000, 100_000)).toBe("in 2 min");
});
