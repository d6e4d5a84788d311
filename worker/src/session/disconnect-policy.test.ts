import { expect, test } from "vitest";
import { overLimit, splitByPolicy } from "./disconnect-policy.js";

const lease = { finishesDisconnected: true, disconnectLimitMs: undefined, doubtedSince: 1_000 };
const stop = { ...lease, finishesDisconnected: false };
const zero = { ...lease, disconnectLimitMs: 0 };
const short = { ...lease, disconnectLimitMs: 100 };
const later = { ...lease, disconnectLimitMs: 100, doubtedSince: 1_200 };
const certain = { ...lease, disconnectLimitMs: 1, doubtedSince: undefined };

test("a lease in doubt stops or finishes as its policy says", () => {
  expect(splitByPolicy([stop, short, lease])).toEqual({ stopping: [stop], finishing: [short, lease] });
  expect(splitByPolicy([])).toEqual({ stopping: [], finishing: [] });
});

test.each([
  { now: 1_050, over: [], next: 1_100 },
  { now: 1_100, over: [short], next: 1_300 },
  { now: 1_299, over: [short], next: 1_300 },
  { now: 9_999, over: [later, short], next: undefined },
])(
  "at $now the limit counts from when the doubt began; without one there is no end",
  ({ now, over, next }) => {
    expect(overLimit([lease, later, zero, short, certain], now)).toEqual({ over, next });
  },
);
