import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { partitionsOf } from "./partition-share.js";

const members = fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 20 });
const partitions = fc.integer({ min: 1, max: 64 });

describe("the members of a group", () => {
  it("share the partitions: each has exactly one member, and no member more than one above another", () => {
    fc.assert(
      fc.property(members, partitions, (all, count) => {
        const shares = all.map((member) => partitionsOf(member, all, count));
        expect(shares.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, at) => at));
        const loads = shares.map((share) => share.length);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it("agree, in whatever order they know each other", () => {
    fc.assert(
      fc.property(
        members.chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
        ),
        partitions,
        ([all, shuffled], count) => {
          for (const member of all)
            expect(partitionsOf(member, shuffled, count)).toEqual(partitionsOf(member, all, count));
        },
      ),
    );
  });

  it("keep most of what they have when one more comes", () => {
    const all = Array.from({ length: 8 }, (_, at) => `member ${at}`);
    const before = all.map((member) => new Set(partitionsOf(member, all, 64)));
    const after = all.map((member) => partitionsOf(member, [...all, "member 8"], 64));
    const kept = after.reduce(
      (sum, share, at) => sum + share.filter((one) => before[at]?.has(one)).length,
      0,
    );
    expect(kept).toBeGreaterThan(40);
  });
});
