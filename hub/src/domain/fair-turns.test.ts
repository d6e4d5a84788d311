import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairTurns } from "./fair-turns.js";

/** Who starts the next jobs, in walks of some jobs each, while all keys have work. */
function serve(turns: FairTurns, jobs: number, perWalk = 1): string[] {
  const served: string[] = [];
  while (served.length < jobs) {
    const walk = turns.walk();
    for (let taken = 0; taken < perWalk && served.length < jobs; taken += 1) {
      served.push(walk.current() as string);
      walk.served();
    }
  }
  return served;
}

function turnsOf(weights: Readonly<Record<string, number>>): FairTurns {
  const turns = new FairTurns();
  for (const [key, weight] of Object.entries(weights)) turns.join(key, weight);
  return turns;
}

const counts = (served: readonly string[]) => {
  const count: Record<string, number> = {};
  for (const key of served) count[key] = (count[key] ?? 0) + 1;
  return count;
};

describe("turns of fairness keys", () => {
  it.each([1, 3, 128])("go by weight, in walks of %i jobs", (perWalk) => {
    const served = serve(turnsOf({ a: 1, b: 2, c: 4 }), 700, perWalk);

    expect(counts(served)).toEqual({ a: 100, b: 200, c: 400 });
  });

  it("are as short as the weights' relation allows, whatever the numbers are", () => {
    const served = serve(turnsOf({ a: 100, b: 200 }), 6);

    expect(served.join("")).toBe("abbabb");
  });

  it("save what is left of a turn for the next one", () => {
    expect(counts(serve(turnsOf({ a: 2, b: 3 }), 500))).toEqual({ a: 200, b: 300 });
  });

  it("give each key its share of every stretch, give or take one turn", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 200 }), fc.nat(500), (given, perWalk, skipped) => {
        const keyed = Object.fromEntries(given.map((weight, at) => [`k${at}`, weight]));
        const min = Math.min(...given);
        const rounds = 20;
        const perRound = given.reduce((sum, weight) => sum + weight / min, 0);
        const served = serve(turnsOf(keyed), skipped + Math.round(rounds * perRound), perWalk);
        const count = counts(served.slice(skipped));
        for (const [key, weight] of Object.entries(keyed)) {
          const turn = weight / min;
          expect(Math.abs((count[key] ?? 0) - rounds * turn)).toBeLessThanOrEqual(2 * turn + 2);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("of a key whose work ran out save nothing: it comes back at the end, for one turn", () => {
    const turns = turnsOf({ a: 5, b: 1, c: 1 });
    expect(serve(turns, 2).join("")).toBe("aa");
    turns.leave("a");
    expect(serve(turns, 4).join("")).toBe("bcbc");
    turns.join("a", 5);

    expect(serve(turns, 9).join("")).toBe("bcaaaaabc");
  });

  it("stay with a key that is passed over, and go on with the others", () => {
    const turns = turnsOf({ a: 1, b: 1, c: 1 });
    const walk = turns.walk();
    expect(walk.current()).toBe("a");
    walk.passOver();
    expect(walk.current()).toBe("b");
    walk.served();
    walk.passOver();
    walk.served();
    walk.passOver();

    expect(walk.current()).toBeUndefined();
    expect(turns.walk().current()).toBe("a");
  });

  it("never count a key that waits double: joining again changes its weight and not its place", () => {
    const turns = turnsOf({ a: 1, b: 1 });
    turns.join("a", 3);
    turns.join("a", 3);

    expect(counts(serve(turns, 400))).toEqual({ a: 300, b: 100 });
  });
});
