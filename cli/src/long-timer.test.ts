import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { callAfter } from "./long-timer.js";

const DAY_MS = 86_400_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test.each([1, 24, 25, 365])("what is set for %d days from now comes then, and once", (days) => {
  const call = vi.fn();
  callAfter(days * DAY_MS, call);
  vi.advanceTimersByTime(days * DAY_MS - 1);
  expect(call).toHaveBeenCalledTimes(0);
  vi.advanceTimersByTime(1);
  expect(call).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(400 * DAY_MS);
  expect(call).toHaveBeenCalledTimes(1);
});

test("what was called off does not come, even when Node's timer had to be set again", () => {
  const call = vi.fn();
  const callOff = callAfter(60 * DAY_MS, call);
  vi.advanceTimersByTime(50 * DAY_MS);
  callOff();
  vi.advanceTimersByTime(400 * DAY_MS);
  expect(call).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});
