import fc from "fast-check";
import { expect, test } from "vitest";
import { TrustClock } from "./trust-clock.js";

function clock() {
  const time = { monotonicMs: 1_000, wallMs: 1_700_000_000_000 };
  const trusted = new TrustClock({ monotonic: () => time.monotonicMs, wall: () => time.wallMs });
  return { time, trusted };
}

test("what the wall clock moved further than the monotonic one counts as elapsed, once", () => {
  const { time, trusted } = clock();
  time.wallMs += 60_000;
  expect(trusted.now()).toBe(61_000);
  expect(trusted.now()).toBe(61_000);
  time.monotonicMs += 100;
  time.wallMs += 100;
  expect(trusted.now()).toBe(61_100);
});

test("a wall clock that is set back, or drifts, changes nothing", () => {
  const { time, trusted } = clock();
  time.wallMs -= 60_000;
  expect(trusted.now()).toBe(1_000);
  time.wallMs += 250;
  expect(trusted.now()).toBe(1_000);
});

test("the clock never goes back, and never falls behind the monotonic one", () => {
  const step = fc.tuple(fc.nat(100_000), fc.integer({ min: -100_000, max: 100_000 }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const { time, trusted } = clock();
      let before = trusted.now();
      for (const [monotonicMs, wallMs] of steps) {
        time.monotonicMs += monotonicMs;
        time.wallMs += wallMs;
        const now = trusted.now();
        expect(now - before).toBeGreaterThanOrEqual(monotonicMs);
        before = now;
      }
    }),
  );
});
