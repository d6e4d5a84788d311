import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { laneOf, refAt } from "../../test/harness/refs.js";
import type { Priority } from "../domain/job-spec.js";
import type { Lane, Ref } from "../domain/lane.js";
import { timelessScore } from "../domain/score.js";
import { defaultScoreWeights, type ScoreWeights } from "../domain/score-weights.js";
import { createMemoryLanes } from "../lanes/memory-lanes.js";
import { LaneChoice } from "./lane-choice.js";

interface Desk {
  readonly choice: LaneChoice;
  /** Puts refs into their lanes, each after what is there. */
  offer(refs: readonly Ref[]): void;
  /** What is served next, as job ids or, with a way to say it, in other words. */
  serve(jobs: number, perTake?: number): Ref[];
  readonly held: Map<number, number>;
}

function openDesk(
  lanes: readonly Lane[],
  weights: ScoreWeights = defaultScoreWeights,
  shares: Readonly<Record<string, number>> = {},
): Desk {
  const port = createMemoryLanes({ windowRefsMax: 1_000_000 });
  const held = new Map<number, number>();
  const byId = new Map(lanes.map((lane) => [lane.laneId, lane]));
  const choice = new LaneChoice({
    lanes: port,
    gates: {
      startsMax: ({ laneId }) => held.get(laneId) ?? Number.POSITIVE_INFINITY,
      take: (laneId, jobs) => void held.set(laneId, (held.get(laneId) ?? Number.POSITIVE_INFINITY) - jobs),
    },
    scoreWeights: () => weights,
    fairnessWeight: ({ fairnessKey }) => shares[fairnessKey] ?? 1,
  });
  port.onChange((laneId) => choice.noticed(byId.get(laneId) as Lane));
  return {
    choice,
    held,
    offer: port.offer,
    serve(jobs, perTake = jobs) {
      const served: Ref[] = [];
      while (served.length < jobs) {
        const refs = choice.take(Math.min(perTake, jobs - served.length), Number.POSITIVE_INFINITY);
        if (refs.length === 0) break;
        port.settle(refs);
        served.push(...refs);
      }
      return served;
    },
  };
}

const minute = 60_000;
/** Refs of a lane, a minute apart. */
const refsOf = (laneId: number, fromMinute: number, count: number, overrides: Partial<Ref> = {}) =>
  Array.from({ length: count }, (_, at) =>
    refAt((fromMinute + at) * 1_000 + laneId, {
      laneId,
      readyAtMs: (fromMinute + at) * minute,
      ...overrides,
    }),
  );
const lanesOf = (refs: readonly Ref[]) => refs.map(({ laneId }) => laneId).join("");
const countOf = (refs: readonly Ref[], laneId: number) => refs.filter((ref) => ref.laneId === laneId).length;

const anyLane = fc.record({
  priority: fc.integer({ min: 1, max: 4 }),
  hasCapabilities: fc.boolean(),
  // Jobs of one lane become ready one after the other, and in a retry twin they have started as often.
  attempt: fc.integer({ min: 0, max: 5 }),
  readyMinutes: fc.uniqueArray(fc.integer({ min: 1, max: 300 }), { maxLength: 12 }),
});
const anyWeights: fc.Arbitrary<ScoreWeights> = fc.record({
  age: fc.integer({ min: 1, max: 10 }),
  priority: fc.integer({ min: -50, max: 50 }),
  retries: fc.integer({ min: -20, max: 20 }),
  capabilities: fc.integer({ min: -20, max: 20 }),
});

describe("without fairness keys", () => {
  it("the order of service equals a sort by score, whatever the weights, and however much is taken at once", () => {
    fc.assert(
      fc.property(
        fc.array(anyLane, { minLength: 1, maxLength: 12 }),
        anyWeights,
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        (drawn, weights, perTake, isRebuilt) => {
          const lanes = drawn.map(({ priority, hasCapabilities }, at) =>
            laneOf(at + 1, {
              priority: priority as Priority,
              capabilities: hasCapabilities ? ["gpu"] : [],
            }),
          );
          const refs = drawn.flatMap(({ readyMinutes, attempt }, at) =>
            [...readyMinutes]
              .sort((one, other) => one - other)
              .map((ready) =>
                refAt(ready * 1_000 + at, { laneId: at + 1, readyAtMs: ready * minute, attempt }),
              ),
          );
          const desk = openDesk(lanes, weights);
          desk.offer(refs);
          if (isRebuilt) desk.choice.lookAtAll(lanes);
          const score = (ref: Ref) => timelessScore(weights, lanes[ref.laneId - 1] as Lane, ref);
          const sorted = [...refs].sort(
            (one, other) => score(other) - score(one) || one.readyKey - other.readyKey,
          );

          expect(desk.serve(refs.length + 1, perTake)).toEqual(sorted);
        },
      ),
    );
  });

  it("a lane leads only as long as its head scores best, also when another choice took from it", () => {
    const lanes = [laneOf(1), laneOf(2)];
    const port = createMemoryLanes({ windowRefsMax: 10 });
    const parts = {
      lanes: port,
      gates: { startsMax: () => Number.POSITIVE_INFINITY, take: () => undefined },
      scoreWeights: () => defaultScoreWeights,
      fairnessWeight: () => 1,
    };
    const [one, other] = [new LaneChoice(parts), new LaneChoice(parts)];
    port.offer([...refsOf(1, 0, 2), ...refsOf(2, 1, 1)]);
    one.lookAtAll(lanes);
    other.lookAtAll(lanes);
    const keys = (refs: readonly Ref[]) => refs.map(({ readyKey }) => readyKey);

    expect(keys(one.take(1, 1_000))).toEqual([1]);
    expect(keys(other.take(1, 1_000))).toEqual([1_001]);
    expect(keys(one.take(9, 1_000))).toEqual([1_002]);
    expect(other.take(9, 1_000)).toEqual([]);
  });

  it("a low class is served within the time that its age makes up for, for as long as higher work keeps coming", () => {
    const [low, critical] = [laneOf(1, { priority: 1 }), laneOf(2, { priority: 4 })];
    const desk = openDesk([low, critical]);
    // One job a minute can be served, and one critical job comes each minute for eight hours.
    const waited: number[] = [];
    for (let now = 0; now < 480; now += 1) {
      desk.offer(refsOf(2, now, 1));
      if (now % 60 === 0) desk.offer(refsOf(1, now, 1));
      for (const ref of desk.serve(1)) if (ref.laneId === 1) waited.push(now - ref.readyAtMs / minute);
    }

    // (4 - 1) steps of 10 at 1 a minute: half an hour, and a minute for each low job and its own before it.
    expect(waited.length).toBeGreaterThanOrEqual(7);
    expect(Math.max(...waited)).toBeLessThanOrEqual(30 + 8 + 1);
  });
});

describe("fairness keys", () => {
  const keyed = (laneId: number, fairnessKey: string, overrides: Partial<Lane> = {}) =>
    laneOf(laneId, { fairnessKey, ...overrides });

  it("share the service of their class by weight, however old and long their backlogs are", () => {
    const lanes = [keyed(1, "a"), keyed(2, "b"), keyed(3, "c")];
    const desk = openDesk(lanes, defaultScoreWeights, { a: 1, b: 2, c: 4 });
    desk.offer([...refsOf(1, 0, 2_000), ...refsOf(2, 900, 300), ...refsOf(3, 1_000, 500)]);

    const served = desk.serve(700, 13);

    expect([1, 2, 3].map((laneId) => countOf(served, laneId))).toEqual([100, 200, 400]);
  });

  it("are served by age within a key, its retry twin and its other kinds included", () => {
    const lanes = [keyed(1, "a"), keyed(2, "a", { isRetry: true }), keyed(3, "a", { kind: "part" })];
    const desk = openDesk([...lanes, keyed(4, "b")], { ...defaultScoreWeights, retries: 0 });
    desk.offer([...refsOf(1, 0, 2), ...refsOf(2, 5, 2), ...refsOf(3, 3, 1), ...refsOf(4, 9, 5)]);

    expect(lanesOf(desk.serve(10))).toBe("1414342424");
  });

  it("take their turn among lanes without a key when their best head would have been served", () => {
    const lanes = [keyed(1, "a"), keyed(2, "b"), laneOf(3)];
    const desk = openDesk(lanes);
    // a's backlog is older than lane 3's jobs, b's is younger: each time a's head leads, a or b is served.
    desk.offer([...refsOf(1, 0, 3), ...refsOf(2, 50, 3), ...refsOf(3, 10, 2)]);
    desk.choice.lookAtAll(lanes);

    expect(lanesOf(desk.serve(10))).toBe("12121332");
  });

  it("share within their class only: a higher class goes first as its score says", () => {
    const lanes = [keyed(1, "a", { priority: 4 }), keyed(2, "a"), keyed(3, "b")];
    const desk = openDesk(lanes);
    desk.offer([...refsOf(1, 0, 3), ...refsOf(2, 0, 2), ...refsOf(3, 0, 2)]);
    desk.choice.lookAtAll(lanes);

    expect(lanesOf(desk.serve(10))).toBe("1112323");
  });

  it("lose their turn while nothing of theirs waits, and make up for nothing later", () => {
    const lanes = [keyed(1, "a"), keyed(2, "b")];
    const desk = openDesk(lanes);
    desk.offer(refsOf(1, 0, 500));
    desk.offer(refsOf(2, 0, 1));
    desk.serve(200, 1);
    desk.offer(refsOf(2, 10, 100));

    const served = desk.serve(100, 1);

    expect(countOf(served, 2)).toBe(50);
    expect(lanesOf(served.slice(0, 6))).toMatch(/^(12){3}$|^(21){3}$/);
  });

  it("do not lose their turn to a session that has no room for their head", () => {
    const lanes = [keyed(1, "a"), keyed(2, "b")];
    const desk = openDesk(lanes);
    desk.offer([...refsOf(1, 0, 2, { bytes: 100 }), ...refsOf(2, 0, 3)]);
    desk.choice.lookAtAll(lanes);

    expect(lanesOf(desk.choice.take(2, 50))).toBe("22");
    expect(lanesOf(desk.serve(10))).toBe("121");
  });

  it("never hold up work, whatever waits, leaves and comes back", () => {
    const step = fc.record({ laneId: fc.integer({ min: 1, max: 8 }), count: fc.nat(5), take: fc.nat(12) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const lanes = Array.from({ length: 8 }, (_, at) =>
          at < 2 ? laneOf(at + 1) : keyed(at + 1, `k${at % 3}`, { priority: at > 5 ? 3 : 2 }),
        );
        const desk = openDesk(lanes, defaultScoreWeights, { k0: 3 });
        const served = new Set<string>();
        let offered = 0;
        for (const [at, { laneId, count, take }] of steps.entries()) {
          desk.offer(refsOf(laneId, at * 10, count));
          offered += count;
          for (const { jobId } of desk.serve(take, 3)) served.add(jobId);
        }
        for (const { jobId } of desk.serve(offered + 1, 7)) served.add(jobId);
        expect(served.size).toBe(offered);
      }),
    );
  });
});

describe("a lane that is held", () => {
  it("is left alone until its gates let something pass, and never starts more than they do", () => {
    const lanes = [laneOf(1), laneOf(2, { fairnessKey: "a" }), laneOf(3)];
    const desk = openDesk(lanes);
    desk.held.set(1, 0).set(2, 2);
    desk.offer([...refsOf(1, 0, 2), ...refsOf(2, 1, 5)]);
    expect(lanesOf(desk.choice.take(9, 1_000))).toBe("22");
    expect(desk.choice.take(9, 1_000)).toEqual([]);
    desk.held.delete(1);
    expect(desk.choice.take(9, 1_000)).toEqual([]);

    desk.choice.lookAtHeld();
    expect(lanesOf(desk.serve(9))).toBe("11");
    desk.held.delete(2);
    desk.choice.lookAtHeld();
    expect(lanesOf(desk.serve(9))).toBe("222");
  });
});
