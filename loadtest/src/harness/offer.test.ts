import fc from "fast-check";
import { expect, test } from "vitest";
import { dueJobs } from "./offer.js";

const fixed = { mode: "fixed", ratePerSecond: 800, batchMs: 25, targetDepth: 1_000 } as const;
const depthTarget = { ...fixed, mode: "depth-target" } as const;

test("a fixed rate follows from the time that has passed: a late tick is made up for", () => {
  const ticks = fc.array(fc.nat(5_000), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(ticks, fc.nat(10_000), (gaps, ratePerSecond) => {
      let elapsedMs = 0;
      let submitted = 0;
      for (const gap of gaps) {
        elapsedMs += gap;
        submitted += dueJobs({ ...fixed, ratePerSecond }, { elapsedMs, submitted, depth: 0 });
      }
      expect(submitted).toBe(Math.floor((elapsedMs / 1_000) * ratePerSecond));
    }),
  );
});

test("a fixed rate does not care how many wait", () => {
  expect(dueJobs(fixed, { elapsedMs: 1_000, submitted: 0, depth: 1_000_000 })).toBe(800);
});

test.each([
  ["fills up, no faster than its rate", 0, 20],
  ["stops at the target", 995, 5],
  ["waits above the target", 1_200, 0],
])("a depth target %s", (_what, depth, due) => {
  expect(dueJobs(depthTarget, { elapsedMs: 60_000, submitted: 0, depth })).toBe(due);
});
