import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { laneOf, refAt } from "../../test/harness/refs.js";
import type { Priority } from "./job-spec.js";
import type { Lane, Ref } from "./lane.js";
import { timelessScore } from "./score.js";
import { defaultScoreWeights, type ScoreWeights } from "./score-weights.js";

/** The score as the design writes it, with the time that timelessScore leaves out. */
function scoreAt(weights: ScoreWeights, lane: Lane, ref: Ref, nowMs: number): number {
  const ageMinutes = (nowMs - ref.readyAtMs) / 60_000;
  const bonus = lane.capabilities.length > 0 ? 1 : 0;
  return (
    weights.age * ageMinutes +
    weights.priority * lane.priority +
    weights.retries * ref.attempt +
    weights.capabilities * bonus
  );
}

const waiting = fc
  .record({
    priority: fc.integer({ min: 1, max: 4 }),
    hasCapabilities: fc.boolean(),
    // Whole minutes and whole weights keep the comparison free of rounding.
    readyMinute: fc.integer({ min: 0, max: 30_000_000 }),
    attempt: fc.integer({ min: 0, max: 1_000 }),
  })
  .map(({ priority, hasCapabilities, readyMinute, attempt }) => ({
    lane: laneOf(1, { priority: priority as Priority, capabilities: hasCapabilities ? ["gpu"] : [] }),
    ref: refAt(1, { readyAtMs: readyMinute * 60_000, attempt }),
  }));
const weights: fc.Arbitrary<ScoreWeights> = fc.record({
  age: fc.integer({ min: 0, max: 100 }),
  priority: fc.integer({ min: 0, max: 100 }),
  retries: fc.integer({ min: -100, max: 0 }),
  capabilities: fc.integer({ min: 0, max: 100 }),
});

describe("the score", () => {
  it("orders waiting jobs the same at whatever time they are compared", () => {
    fc.assert(
      fc.property(
        weights,
        waiting,
        waiting,
        fc.integer({ min: 0, max: 60_000_000 }),
        (w, one, two, minute) => {
          const nowMs = minute * 60_000;
          const timeless = timelessScore(w, one.lane, one.ref) - timelessScore(w, two.lane, two.ref);
          const timed = scoreAt(w, one.lane, one.ref, nowMs) - scoreAt(w, two.lane, two.ref, nowMs);
          expect(Math.sign(timeless)).toBe(Math.sign(timed));
        },
      ),
    );
  });

  it("orders one lane's first starts by age alone", () => {
    const lane = laneOf(1);

    expect(timelessScore(defaultScoreWeights, lane, refAt(1))).toBeGreaterThan(
      timelessScore(defaultScoreWeights, lane, refAt(2)),
    );
  });

  it("bounds starvation: a job of low priority passes a new critical one after half an hour", () => {
    const low = laneOf(1, { priority: 1 });
    const critical = laneOf(2, { priority: 4 });
    const score = (lane: Lane, minute: number) =>
      timelessScore(defaultScoreWeights, lane, refAt(1, { readyAtMs: minute * 60_000 }));

    expect(score(low, 0)).toBeLessThan(score(critical, 29));
    expect(score(low, 0)).toBeGreaterThan(score(critical, 31));
  });
});
