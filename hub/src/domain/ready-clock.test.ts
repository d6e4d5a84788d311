import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReadyClock } from "./ready-clock.js";

describe("the ready clock", () => {
  it("hands out places that strictly rise, however the clock steps", () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 1, max: 5_000 })));
    fc.assert(
      fc.property(steps, (steps) => {
        const clock = new ReadyClock();
        let last = -1;
        for (const [nowMs, count] of steps) {
          const first = clock.next(nowMs, count);
          expect(first).toBeGreaterThan(last);
          expect(first).toBeGreaterThanOrEqual(nowMs * 1_000);
          last = first + count - 1;
        }
      }),
    );
  });

  it("goes on from its last place when the clock steps back", () => {
    const clock = new ReadyClock();

    expect(clock.next(1_000, 3)).toBe(1_000_000);
    expect(clock.next(400, 2)).toBe(1_000_003);
    expect(clock.next(1_000, 1)).toBe(1_000_005);
    expect(clock.next(1_001, 1)).toBe(1_001_000);
  });
});
