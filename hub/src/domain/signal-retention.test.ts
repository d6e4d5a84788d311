import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RetentionPolicy, trimThrough } from "./signal-retention.js";

const policy: RetentionPolicy = {
  maxAgeMs: 1_000,
  maxBytes: 1_000,
  trimConsumed: false,
  trimPastCursors: false,
};
const page = (lastSequence: number, publishedAtMs: number, bytes = 100) => ({
  lastSequence,
  publishedAtMs,
  bytes,
});
const pages = [page(10, 0), page(20, 500), page(30, 2_000)];

describe("retention (D15)", () => {
  it("trims what is older than the policy's age, and nothing after the first that is not", () => {
    expect(trimThrough(pages, policy, { heldBytes: 300, cursorFloor: null, nowMs: 1_400 })).toBe(10);
    expect(trimThrough(pages, policy, { heldBytes: 300, cursorFloor: null, nowMs: 9_000 })).toBe(30);
  });

  it("trims by size from nine tenths on", () => {
    expect(trimThrough(pages, policy, { heldBytes: 900, cursorFloor: null, nowMs: 100 })).toBe(0);
    expect(trimThrough(pages, policy, { heldBytes: 950, cursorFloor: null, nowMs: 100 })).toBe(10);
    expect(trimThrough(pages, policy, { heldBytes: 1_050, cursorFloor: null, nowMs: 100 })).toBe(20);
  });

  it("trims what every cursor has passed when it is told to, however young", () => {
    const eager = { ...policy, trimConsumed: true };
    expect(trimThrough(pages, eager, { heldBytes: 300, cursorFloor: 25, nowMs: 100 })).toBe(20);
    expect(trimThrough(pages, eager, { heldBytes: 300, cursorFloor: null, nowMs: 100 })).toBe(0);
  });

  it("never passes a durable cursor, whatever age and size say, unless the policy tells it to", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            signals: fc.integer({ min: 1, max: 9 }),
            publishedAtMs: fc.nat(5_000),
            bytes: fc.nat(500),
          }),
        ),
        fc.nat(60),
        fc.nat(9_000),
        fc.boolean(),
        (given, cursorFloor, nowMs, trimConsumed) => {
          let last = 0;
          const held = given.map(({ signals, ...rest }) => {
            last += signals;
            return { ...rest, lastSequence: last };
          });
          const heldBytes = held.reduce((sum, { bytes }) => sum + bytes, 0);
          const state = { heldBytes, cursorFloor, nowMs };
          const through = trimThrough(held, { ...policy, trimConsumed }, state);
          expect(through).toBeLessThanOrEqual(cursorFloor);
          const told = trimThrough(held, { ...policy, trimConsumed, trimPastCursors: true }, state);
          expect(told).toBeGreaterThanOrEqual(through);
        },
      ),
    );
  });
});
