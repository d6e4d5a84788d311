import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawStarts, hourMs, type QuotaState } from "./quota.js";
import { noSamples, type RateAsk } from "./rate-draw.js";

const settings = { startsMax: 10, windowMs: hourMs };
const ask = (wanted: number, settled: RateAsk["settled"] = []): RateAsk => ({
  wanted,
  settled,
  samples: noSamples,
  random: 0,
});
const noon = Date.parse("2026-03-01T12:00:00Z");

describe("a quota", () => {
  it("grants so many starts an hour, and says that the next hour brings more", () => {
    const drawn = drawStarts(settings, {}, ask(25), noon + 1_000);
    expect(drawn.chunk?.tokens).toBe(10);
    expect(drawn).toMatchObject({ nextAtMs: noon + hourMs, reason: "10 starts an hour are used up" });
    expect(drawStarts(settings, drawn.state, ask(1), noon + hourMs - 1).chunk).toBeNull();
    expect(drawStarts(settings, drawn.state, ask(25), noon + hourMs).chunk?.tokens).toBe(10);
  });

  it("takes unused starts back in their window, and not in the next", () => {
    const drawn = drawStarts(settings, {}, ask(10), noon);
    const back = [{ chunk: 1, unused: 6, endedAgoMs: 0 }];
    expect(drawStarts(settings, drawn.state, ask(10, back), noon + 500).chunk?.tokens).toBe(6);
    const next = drawStarts(settings, drawn.state, ask(0, back), noon + hourMs);
    expect(next.state.used).toBe(0);
  });

  it("lets no chunk outlive its window", () => {
    expect(drawStarts(settings, {}, ask(1), noon - 7).chunk?.lifeMs).toBe(7);
  });

  it("begins no window again when time runs backward", () => {
    const drawn = drawStarts(settings, {}, ask(10), noon);
    expect(drawStarts(settings, drawn.state, ask(1), noon - 1).chunk).toBeNull();
  });

  it("is never exceeded in any window", () => {
    const draw = fc.record({
      afterMs: fc.integer({ min: 0, max: 1_500 }),
      wanted: fc.integer({ min: 0, max: 8 }),
      unused: fc.integer({ min: 0, max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(draw), (draws) => {
        const small = { startsMax: 10, windowMs: 2_000 };
        const used = new Map<number, number>();
        let state: Partial<QuotaState> = {};
        let nowMs = noon;
        let settled: RateAsk["settled"] = [];
        for (const { afterMs, wanted, unused } of draws) {
          nowMs += afterMs;
          const drawn = drawStarts(small, state, ask(wanted, settled), nowMs);
          state = drawn.state;
          const tokens = drawn.chunk?.tokens ?? 0;
          const left = Math.min(unused, tokens);
          settled = drawn.chunk ? [{ chunk: drawn.chunk.chunk, unused: left, endedAgoMs: 0 }] : [];
          const window = Math.floor(nowMs / 2_000);
          used.set(window, (used.get(window) ?? 0) + tokens - left);
          expect(used.get(window)).toBeLessThanOrEqual(10);
        }
      }),
    );
  });
});
