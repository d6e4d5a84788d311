import { expect, test } from "vitest";
import { beat, heard, newPulse, silenceMaxMs } from "./pulse.js";

test("an echo answers the heartbeat with its nonce, and those before it", () => {
  let pulse = newPulse(0);
  for (const now of [10, 20, 30]) pulse = beat(pulse, now);
  const { pulse: after, answered } = heard(pulse, 2n, 77n, 25);
  expect(answered).toEqual({ nonce: 2, sentAt: 20 });
  expect(after).toEqual({ unanswered: [{ nonce: 3, sentAt: 30 }], nextNonce: 4, hubNonce: 77n, heardAt: 25 });
});

test("an echo of what was never sent, or was answered before, is no sign of life", () => {
  const pulse = beat(newPulse(0), 10);
  expect(heard(pulse, 9n, 1n, 50)).toMatchObject({ answered: undefined, pulse: { heardAt: 0 } });
  const once = heard(pulse, 1n, 1n, 20).pulse;
  expect(heard(once, 1n, 2n, 90)).toMatchObject({ answered: undefined, pulse: { heardAt: 20 } });
});

test("a hub may be silent for three heartbeats, or as long as the session lives if that is less", () => {
  expect(silenceMaxMs(5_000, 30_000)).toBe(15_000);
  expect(silenceMaxMs(5_000, 12_000)).toBe(12_000);
});
