import fc from "fast-check";
import { expect, test } from "vitest";
import { extendTrust, type Trust, trustAt, trustedUntil, trustMarginMs } from "./trust-window.js";

test("the margin is a tenth of the time to live, at least 500 ms, and never more than half", () => {
  expect([200, 1_000, 3_000, 30_000, 600_000].map(trustMarginMs)).toEqual([100, 500, 500, 3_000, 60_000]);
});

test("the window counts from when the echoed heartbeat was sent, however late the echo came", () => {
  expect(trustedUntil(1_000, 30_000, 30_000)).toBe(1_000 + 30_000 - 3_000);
  expect(trustedUntil(1_000, 10_000, 30_000)).toBe(1_000 + 10_000 - 3_000);
});

test("the window always ends before the session can: what the ledger grants begins after the sending", () => {
  const delay = fc.integer({ min: 0, max: 100_000 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), delay, delay, (ttlMs, sentAt, delayMs) => {
      const expiresAt = sentAt + delayMs + ttlMs;
      expect(trustedUntil(sentAt, ttlMs, ttlMs)).toBeLessThan(expiresAt);
    }),
  );
});

test("every proof of life is a lower bound, so the latest of them holds", () => {
  const trusted: Trust = { state: "trusted", until: 50 };
  expect(extendTrust(trusted, 40)).toEqual({ state: "trusted", until: 50 });
  expect(extendTrust(trusted, 60)).toEqual({ state: "trusted", until: 60 });
  expect(extendTrust({ state: "unheard" }, 10)).toEqual({ state: "trusted", until: 10 });
  expect(extendTrust({ state: "passed", since: 99 }, 10)).toEqual({ state: "trusted", until: 10 });
});

test("the window has passed from its end on, and stays so", () => {
  const trusted: Trust = { state: "trusted", until: 50 };
  expect(trustAt(trusted, 49)).toEqual(trusted);
  expect(trustAt(trusted, 50)).toEqual({ state: "passed", since: 50 });
  expect(trustAt({ state: "passed", since: 50 }, 500)).toEqual({ state: "passed", since: 50 });
  expect(trustAt({ state: "unheard" }, 500)).toEqual({ state: "unheard" });
});
