import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BlackoutSettings, blackoutAt, isTimeZone } from "./blackout.js";

const everyDay = [1, 2, 3, 4, 5, 6, 7];
const berlin = (fromMinute: number, toMinute: number, days = everyDay): BlackoutSettings => ({
  timeZone: "Europe/Berlin",
  windows: [{ days, fromMinute, toMinute }],
});
const at = (text: string) => Date.parse(text);

describe("a blackout", () => {
  it("is over at the local time that was set", () => {
    expect(blackoutAt(berlin(9 * 60, 17 * 60), at("2026-06-01T08:30:20Z"))).toBe(at("2026-06-01T15:00:00Z"));
  });

  it("begins with its first minute and is over with its last", () => {
    const nine = berlin(9 * 60, 10 * 60);
    expect(blackoutAt(nine, at("2026-01-05T07:59:59Z"))).toBeNull();
    expect(blackoutAt(nine, at("2026-01-05T08:00:00Z"))).toBe(at("2026-01-05T09:00:00Z"));
    expect(blackoutAt(nine, at("2026-01-05T08:59:59Z"))).toBe(at("2026-01-05T09:00:00Z"));
    expect(blackoutAt(nine, at("2026-01-05T09:00:00Z"))).toBeNull();
  });

  it("may last over midnight, and over the end of the week", () => {
    const night = berlin(22 * 60, 6 * 60, [7]);
    expect(blackoutAt(night, at("2026-01-04T22:00:00Z"))).toBe(at("2026-01-05T05:00:00Z"));
    expect(blackoutAt(night, at("2026-01-05T04:00:00Z"))).toBe(at("2026-01-05T05:00:00Z"));
    expect(blackoutAt(night, at("2026-01-05T22:00:00Z"))).toBeNull();
  });

  it.each([
    ["shorter when clocks go forward", "2026-03-28T23:30:00Z", "2026-03-29T04:00:00Z"],
    ["longer when clocks go back", "2026-10-24T22:30:00Z", "2026-10-25T05:00:00Z"],
  ])("is %s", (_, inside, end) => {
    expect(blackoutAt(berlin(0, 6 * 60), at(inside))).toBe(at(end));
  });

  it("joins windows that touch", () => {
    const settings = {
      timeZone: "UTC",
      windows: [
        { days: [1], fromMinute: 0, toMinute: 60 },
        { days: [1], fromMinute: 60, toMinute: 120 },
      ],
    };
    expect(blackoutAt(settings, at("2026-01-05T00:30:00Z"))).toBe(at("2026-01-05T02:00:00Z"));
  });

  it("that fills the week is looked at again after a week", () => {
    const now = at("2026-01-05T00:30:00Z");
    const always = { timeZone: "UTC", windows: [{ days: everyDay, fromMinute: 0, toMinute: 0 }] };
    expect(blackoutAt(always, now)).toBe(now + 7 * 86_400_000);
  });

  it("is over when it says so, and not a minute before", () => {
    const windows = fc.array(
      fc.record({
        days: fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
        fromMinute: fc.integer({ min: 0, max: 1439 }),
        toMinute: fc.integer({ min: 0, max: 1439 }),
      }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(windows, fc.integer({ min: 0, max: 20_000_000 }), (windows, minute) => {
        const settings = { timeZone: "UTC", windows };
        const now = at("2026-01-01T00:00:00Z") + minute * 60_000;
        const end = blackoutAt(settings, now);
        if (end === null || end - now >= 7 * 86_400_000) return;
        expect(end).toBeGreaterThan(now);
        expect(blackoutAt(settings, end)).toBeNull();
        expect(blackoutAt(settings, end - 60_000)).not.toBeNull();
      }),
    );
  });
});

it("A time zone is one that the machine knows", () => {
  expect(isTimeZone("Europe/Berlin")).toBe(true);
  expect(isTimeZone("Europe/Atlantis")).toBe(false);
});
