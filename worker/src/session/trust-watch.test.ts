import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TrustClock } from "../trust-clock.js";
import { TrustWatch } from "./trust-watch.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A watch that has been welcomed for 27 s, on a machine whose clocks are in the hands of the test. */
function watch(expire: (now: number) => number | undefined = () => undefined) {
  const time = { monotonicMs: 0, wallMs: 1_700_000_000_000 };
  const passed: number[] = [];
  const clock = new TrustClock({ monotonic: () => time.monotonicMs, wall: () => time.wallMs });
  const trust = new TrustWatch((since) => passed.push(since), expire, clock);
  trust.welcomed(27_000);
  return { time, passed, trust };
}

test("on a machine that slept for longer than the trust window it has passed at the next look", () => {
  const { time, passed } = watch();
  time.wallMs += 60_000;
  vi.advanceTimersByTime(1_100);
  expect(passed).toEqual([27_000]);
});

test("a wall clock that is set back neither ends the trust window nor makes it longer", () => {
  const { time, passed } = watch();
  time.wallMs -= 60_000;
  vi.advanceTimersByTime(5_000);
  expect(passed).toEqual([]);
  time.monotonicMs += 27_000;
  vi.advanceTimersByTime(1_100);
  expect(passed).toEqual([27_000]);
});

test("a hub that was heard after the sleep, before the look, keeps the window open; an echo from before does not", () => {
  const { time, passed, trust } = watch();
  time.wallMs += 60_000;
  trust.heard(60_000 + 27_000);
  vi.advanceTimersByTime(1_100);
  expect(passed).toEqual([]);
  time.wallMs += 60_000;
  trust.heard(60_000 + 28_000);
  vi.advanceTimersByTime(1_100);
  expect(passed).toEqual([88_000]);
});

test("time slept counts for what may finish in doubt, too", () => {
  const looks: number[] = [];
  const { time } = watch((now) => {
    looks.push(now);
    return 500_000;
  });
  time.wallMs += 600_000;
  vi.advanceTimersByTime(1_100);
  expect(looks.at(-1)).toBe(600_000);
});
