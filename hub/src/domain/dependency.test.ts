import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findCycle } from "./dependency.js";

/** Edges that only lead to earlier places cannot form a circle. */
const graph = fc
  .integer({ min: 1, max: 40 })
  .chain((size) =>
    fc.tuple(
      ...Array.from({ length: size }, (_, at) =>
        fc.uniqueArray(fc.nat(Math.max(at - 1, 0)), { maxLength: at }),
      ),
    ),
  );

describe("findCycle", () => {
  it("finds none where jobs wait for earlier ones only", () => {
    fc.assert(fc.property(graph, (waitsFor) => findCycle(waitsFor) === null));
  });

  it("names a circle that is one, wherever an edge closes it", () => {
    fc.assert(
      fc.property(graph, fc.nat(), fc.nat(), (waitsFor, a, b) => {
        const [low, high] = [a % waitsFor.length, b % waitsFor.length].sort((x, y) => x - y) as [
          number,
          number,
        ];
        // A chain from high down to low, closed by an edge back.
        const closed = waitsFor.map((targets, at) => {
          if (at === low) return [...targets, high];
          return at > low && at <= high ? [...targets, at - 1] : targets;
        });
        const cycle = findCycle(closed) ?? [];
        expect(cycle.length).toBeGreaterThan(1);
        expect(cycle.at(-1)).toBe(cycle[0]);
        for (const [at, place] of cycle.slice(0, -1).entries())
          expect(closed[place]).toContain(cycle[at + 1]);
      }),
    );
  });

  it("names a job that waits for itself", () => {
    expect(findCycle([[], [1]])).toEqual([1, 1]);
  });

  it("walks a chain of 100,000 without running out of stack", () => {
    const chain = Array.from({ length: 100_000 }, (_, at) => (at === 0 ? [] : [at - 1]));
    expect(findCycle(chain)).toBeNull();
  });
});
