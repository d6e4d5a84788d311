import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cadence, timesOf } from "./cadence.js";

const noBounds = { startsAtMs: null, endsAtMs: null };
const at = (text: string) => Date.parse(text);

/** The times of a cadence within a range, as RFC 3339 to the minute. */
function within(cadence: Cadence, from: string, to: string): string[] {
  const times = timesOf(cadence, noBounds);
  const found: string[] = [];
  for (let ms = times.after(at(from) - 1); ms !== null && ms < at(to); ms = times.after(ms))
    found.push(`${new Date(ms).toISOString().slice(5, 16)}Z`);
  return found;
}

const berlin = (expression: string): Cadence => ({ type: "cron", expression, zone: "Europe/Berlin" });

describe("where Berlin's clock jumps from 02:00 to 03:00 (2026-03-29T01:00Z)", () => {
  it.each([
    ["a time of day that is jumped over fires once, right after the jump", "30 2 * * *", ["03-29T01:00Z"]],
    ["a time of day beside it fires as ever", "30 3 * * *", ["03-29T01:30Z"]],
    ["several times in the hour that is jumped over do not fire", "*/30 2 * * *", []],
    [
      "every half hour stays every half hour",
      "*/30 * * * *",
      ["00:00", "00:30", "01:00", "01:30"].map((t) => `03-29T${t}Z`),
    ],
  ])("%s: %s", (_promise, expression, expected) => {
    expect(within(berlin(expression), "2026-03-29T00:00Z", "2026-03-29T02:00Z")).toEqual(expected);
  });
});

describe("where Berlin's clock jumps back from 03:00 to 02:00 (2026-10-25T01:00Z)", () => {
  it.each([
    ["a time of day that comes twice fires once, the first time", "30 2 * * *", ["10-25T00:30Z"]],
    ["a time of day after it fires once", "0 3 * * *", ["10-25T02:00Z"]],
    [
      "several times of a repeated hour fire in both",
      "*/30 2 * * *",
      ["00:00", "00:30", "01:00", "01:30"].map((t) => `10-25T${t}Z`),
    ],
    ["every hour stays every hour", "0 * * * *", ["00:00", "01:00", "02:00"].map((t) => `10-25T${t}Z`)],
  ])("%s: %s", (_promise, expression, expected) => {
    expect(within(berlin(expression), "2026-10-25T00:00Z", "2026-10-25T02:30Z")).toEqual(expected);
  });
});

it("a day of Berlin begins at midnight there, winter and summer", () => {
  expect(within(berlin("@daily"), "2026-03-28T12:00Z", "2026-03-30T12:00Z")).toEqual([
    "03-28T23:00Z",
    "03-29T22:00Z",
  ]);
});

const someZone = fc.constantFrom(
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "Asia/Kolkata",
  "UTC",
);
const someCron = fc.constantFrom(
  "30 2 * * *",
  "*/30 2 * * *",
  "0 * * * *",
  "*/15 * * * *",
  "0 0 * * *",
  "0 3 * * MON",
  "15,45 1-3 * * *",
  "0 0 L * *",
);
const someCadence: fc.Arbitrary<Cadence> = fc.oneof(
  fc.record({ type: fc.constant("cron" as const), expression: someCron, zone: someZone }),
  fc.record({
    type: fc.constant("interval" as const),
    everyMs: fc.integer({ min: 1_000, max: 40 * 86_400_000 }),
    anchorMs: fc.integer({ min: 0, max: at("2030-01-01T00:00Z") }),
  }),
);
const someTime = fc.integer({ min: at("2026-01-01T00:00Z"), max: at("2027-01-01T00:00Z") });

it("forward and back one finds the same times, from wherever one begins", () => {
  fc.assert(
    fc.property(someCadence, someTime, (cadence, ms) => {
      const times = timesOf(cadence, noBounds);
      const next = times.after(ms) as number;
      expect(next).toBeGreaterThan(ms);
      // Nothing lies between: whoever looks back from it, or from anywhere before, finds the same.
      expect(times.after(next - 1)).toBe(next);
      expect(times.after(ms + Math.floor((next - ms) / 2))).toBe(next);
      const before = times.before(next) as number;
      expect(before).toBeLessThanOrEqual(ms);
      expect(times.after(before)).toBe(next);
    }),
    { numRuns: 300 },
  );
});

it("bounds let no time through that is before the first or after the last", () => {
  const times = timesOf(
    { type: "interval", everyMs: 60_000, anchorMs: 0 },
    { startsAtMs: 180_000, endsAtMs: 300_000 },
  );
  expect([times.after(0), times.after(180_000), times.after(240_000), times.after(300_000)]).toEqual([
    180_000,
    240_000,
    300_000,
    null,
  ]);
  expect([times.before(900_000), times.before(240_000), times.before(180_000)]).toEqual([
    300_000,
    180_000,
    null,
  ]);
});

it.each([
  ["", "UTC", "cadence.cron.expression"],
  ["nonsense", "UTC", "cadence.cron.expression"],
  ["* * *", "UTC", "cadence.cron.expression"],
  ["61 * * * *", "UTC", "cadence.cron.expression"],
  ["2026-03-29T02:30:00", "UTC", "cadence.cron.expression"],
  ["* * * * * * 2027", "UTC", "cadence.cron.expression"],
  ["@reboot", "UTC", "cadence.cron.expression"],
  ["* * * * *", "Berlin", "cadence.cron.zone"],
  ["* * * * *", "Europe/Atlantis", "cadence.cron.zone"],
])("%j in %s is refused, naming %s", (expression, zone, field) => {
  const parse = () => timesOf({ type: "cron", expression, zone }, noBounds);
  expect(parse).toThrow(
    expect.objectContaining({ reason: "INVALID_FIELD", metadata: expect.objectContaining({ field }) }),
  );
});

it("an expression that never comes true has no times", () => {
  const times = timesOf({ type: "cron", expression: "0 0 30 2 *", zone: "UTC" }, noBounds);
  expect(times.after(at("2026-01-01T00:00Z"))).toBeNull();
});
