import { describe, expect, it } from "vitest";
import { laneOf, refAt } from "../../test/harness/refs.js";
import type { Lane } from "./lane.js";
import { type LaneHead, rivalsOf } from "./rivals.js";
import { timelessScore } from "./score.js";
import { defaultScoreWeights } from "./score-weights.js";

/** A lane whose head became ready in that minute. */
const head = (laneId: number, readyMinute: number, lane: Partial<Lane> = {}): LaneHead => ({
  lane: laneOf(laneId, lane),
  ref: refAt(laneId, { laneId, readyAtMs: readyMinute * 60_000 }),
});
const numbers = (own: LaneHead, others: readonly LaneHead[]) => {
  const { lanes, keys } = rivalsOf(own, others, ({ lane, ref }) =>
    timelessScore(defaultScoreWeights, lane, ref),
  );
  return { lanes: lanes.map(({ laneId }) => laneId), keys: keys.map(({ laneId }) => laneId) };
};

describe("what goes before a lane", () => {
  it("without fairness keys are the lanes whose heads score higher", () => {
    const others = [head(2, 5), head(3, 15), head(4, 15, { priority: 3 })];

    expect(numbers(head(1, 10), others)).toEqual({ lanes: [2, 4], keys: [] });
  });

  it("with one are the other keys of its class in turns, and older lanes of its own key", () => {
    const own = head(1, 10, { fairnessKey: "a" });
    const others = [
      head(2, 5, { fairnessKey: "a", isRetry: true }),
      head(3, 15, { fairnessKey: "a", kind: "part" }),
      head(4, 30, { fairnessKey: "b" }),
      head(5, 0, { fairnessKey: "b" }),
      head(6, 30, { fairnessKey: "c", priority: 1 }),
    ];

    expect(numbers(own, others)).toEqual({ lanes: [2], keys: [5] });
  });

  it("beside a class that shares are only the lanes that lead its best head, whoever's that is", () => {
    const own = head(1, 10, { fairnessKey: "a" });
    const others = [head(2, 3, { fairnessKey: "b" }), head(3, 5), head(4, 2)];

    expect(numbers(own, others)).toEqual({ lanes: [4], keys: [2] });
  });
});
