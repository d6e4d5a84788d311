import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EffectLostError } from "../job-errors.js";
import { TrustClock } from "../trust-clock.js";
import { EffectHold } from "./effect-hold.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** The hold of an effect that was granted for 30 s, and whose renewals are never answered. */
function hold() {
  const time = { monotonicMs: 0, wallMs: 1_700_000_000_000 };
  const clock = new TrustClock({ monotonic: () => time.monotonicMs, wall: () => time.wallMs });
  const effect = new EffectHold(
    30_000,
    { clock, askedAt: 0, timeLeftMs: 30_000 },
    () => new Promise(() => {}),
  );
  return { time, effect };
}

test("the lease of an effect is given up when it was not renewed in time", () => {
  const { time, effect } = hold();
  time.monotonicMs = 26_999;
  vi.advanceTimersByTime(1_000);
  expect(effect.signal.aborted).toBe(false);
  time.monotonicMs = 27_000;
  vi.advanceTimersByTime(1_000);
  expect(effect.signal.reason).toBeInstanceOf(EffectLostError);
});

test("on a machine that slept for longer than its lease an effect is given up at the next look", () => {
  const { time, effect } = hold();
  time.wallMs += 60_000;
  vi.advanceTimersByTime(1_000);
  expect(effect.signal.reason).toBeInstanceOf(EffectLostError);
});

test("a wall clock that is set back leaves an effect alone", () => {
  const { time, effect } = hold();
  time.wallMs -= 60_000;
  vi.advanceTimersByTime(5_000);
  expect(effect.signal.aborted).toBe(false);
  effect.stop();
});
