import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chunkKeptMs, noSamples, type RateAsk, type Samples } from "./rate-draw.js";
import { type BucketSettings, type BucketState, drawTokens, leastCapacity, rateAt } from "./token-bucket.js";

const plain: BucketSettings = { ratePerSecond: 10, capacity: 10, adaptive: null };
const adaptive: BucketSettings = {
  ratePerSecond: 1_000,
  capacity: 1_000,
  adaptive: { floorPerSecond: 10, recoveryMs: 30_000 },
};
const ask = (wanted: number, more: Partial<RateAsk> = {}): RateAsk => ({
  wanted,
  settled: [],
  samples: noSamples,
  random: 0,
  ...more,
});
const throttled = (waitMs = 0): { samples: Samples } => ({
  samples: { ...noSamples, throttled: 100, waitMs },
});
const start = 1_750_000_000_000;

describe("a token bucket", () => {
  it("is full at first, grants what is there and says when there is more", () => {
    const first = drawTokens(plain, {}, ask(7), start);
    expect(first.chunk?.tokens).toBe(7);
    expect(first.nextAtMs).toBeNull();
    const second = drawTokens(plain, first.state, ask(7), start);
    expect(second.chunk?.tokens).toBe(3);
    expect(second.nextAtMs).toBe(start + 100);
    const used = (agoMs: number) => ({
      settled: [1, 2].map((chunk) => ({ chunk, unused: 0, endedAgoMs: agoMs })),
    });
    expect(drawTokens(plain, second.state, ask(7, used(99)), start + 99).chunk).toBeNull();
    expect(drawTokens(plain, second.state, ask(7, used(100)), start + 100).chunk?.tokens).toBe(1);
  });

  it("fills up from when hubs had used what they drew, and not before", () => {
    const drawn = drawTokens(plain, {}, ask(10), start);
    expect(drawTokens(plain, drawn.state, ask(10), start + 1_000).chunk).toBeNull();
    const used = (endedAgoMs: number) => ask(10, { settled: [{ chunk: 1, unused: 0, endedAgoMs }] });
    expect(drawTokens(plain, drawn.state, used(1_000), start + 1_000).chunk?.tokens).toBe(10);
    expect(drawTokens(plain, drawn.state, used(600), start + 1_000).chunk?.tokens).toBe(6);
    expect(drawTokens(plain, drawn.state, used(0), start + 1_000).chunk).toBeNull();
  });

  it("takes back what was unused, once, and not when the chunk is forgotten", () => {
    const drawn = drawTokens(plain, {}, ask(10), start);
    const back = ask(10, { settled: [{ chunk: 1, unused: 4, endedAgoMs: 0 }] });
    const again = drawTokens(plain, drawn.state, back, start);
    expect(again.chunk?.tokens).toBe(4);
    expect(drawTokens(plain, again.state, back, start).chunk).toBeNull();
    const late = drawTokens({ ...plain, ratePerSecond: 0.001 }, drawn.state, back, start + chunkKeptMs);
    expect(late.chunk).toBeNull();
  });

  it("refills nothing when time runs backward", () => {
    const { state } = drawTokens(plain, {}, ask(10, {}), start);
    const back = drawTokens(plain, state, ask(10), start - 60_000);
    expect(back.chunk).toBeNull();
    const done = ask(10, { settled: [{ chunk: 1, unused: 0, endedAgoMs: 100 }] });
    expect(drawTokens(plain, back.state, done, start + 100).chunk?.tokens).toBe(1);
  });

  it("never grants more than a bucket from which each start had taken its token itself (D19)", () => {
    const draw = fc.record({
      afterMs: fc.integer({ min: 0, max: 900 }),
      wanted: fc.integer({ min: 0, max: 40 }),
      usedShare: fc.double({ min: 0, max: 1, noNaN: true }),
      /** After which part of the time until the next draw. */
      usedLate: fc.double({ min: 0, max: 1, noNaN: true }),
      settles: fc.boolean(),
    });
    const rate = fc.double({ min: 0.1, max: 200, noNaN: true });
    fc.assert(
      fc.property(rate, fc.double({ min: 1, max: 3, noNaN: true }), fc.array(draw), (rate, times, draws) => {
        const capacity = Math.ceil(leastCapacity(rate) * times);
        const settings = { ratePerSecond: rate, capacity, adaptive: null };
        let state: Partial<BucketState> = {};
        let nowMs = start;
        let open: { chunk: number; unused: number; usedAtMs: number }[] = [];
        const bucket = { level: capacity, atMs: start };
        const takeFromReference = (starts: number, atMs: number) => {
          bucket.level = Math.min(capacity, bucket.level + (rate * (atMs - bucket.atMs)) / 1_000) - starts;
          bucket.atMs = atMs;
          expect(bucket.level).toBeGreaterThan(-1e-6);
        };
        for (const [at, { wanted, usedShare, usedLate, settles }] of draws.entries()) {
          const settled = open.map(({ chunk, unused, usedAtMs }) => ({
            chunk,
            unused,
            endedAgoMs: nowMs - usedAtMs,
          }));
          const drawn = drawTokens(settings, state, ask(wanted, { settled: settles ? settled : [] }), nowMs);
          if (settles) open = [];
          state = drawn.state;
          const nextMs = nowMs + (draws[at + 1]?.afterMs ?? 0);
          if (drawn.chunk) {
            const { chunk, tokens, lifeMs } = drawn.chunk;
            const usedAtMs = nowMs + Math.min(nextMs - nowMs, lifeMs) * usedLate;
            const used = Math.floor(tokens * usedShare);
            takeFromReference(used, usedAtMs);
            open.push({ chunk, unused: tokens - used, usedAtMs });
          }
          nowMs = nextMs;
        }
      }),
    );
  });
});

describe("an adaptive bucket", () => {
  it("halves its rate once for all that is refused in a second, and once more after it", () => {
    const first = drawTokens(adaptive, {}, ask(0, throttled()), start);
    expect(rateAt(adaptive, first.state.slowdown, start)).toBe(500);
    const same = drawTokens(adaptive, first.state, ask(0, throttled()), start + 900);
    expect(same.state.slowdown?.from).toBe(500);
    const next = drawTokens(adaptive, same.state, ask(0, throttled()), start + 1_100);
    expect(next.state.slowdown?.from).toBeLessThan(300);
  });

  it("grants nothing until the time that the service named, and a little later by chance", () => {
    const { state } = drawTokens(adaptive, {}, ask(0, { ...throttled(10_000), random: 0.5 }), start);
    expect(state.slowdown?.waitUntilMs).toBe(start + 10_500);
    const waiting = drawTokens(adaptive, state, ask(100), start + 10_400);
    expect(waiting).toMatchObject({ chunk: null, reason: "the service asked to wait" });
    expect(waiting.nextAtMs).toBeGreaterThanOrEqual(start + 10_500);
    expect(drawTokens(adaptive, waiting.state, ask(100), start + 10_600).chunk?.tokens).toBeGreaterThan(0);
  });

  it("recovers to nearly the rate that was too much, slowly around it, and then to what was set", () => {
    const { state } = drawTokens(adaptive, {}, ask(0, throttled()), start);
    const at = (seconds: number) => rateAt(adaptive, state.slowdown, start + seconds * 1_000);
    expect(at(10)).toBeGreaterThan(700);
    expect(at(25)).toBeGreaterThan(940);
    expect(at(30)).toBe(950);
    expect(at(35)).toBeLessThan(960);
    expect(at(300)).toBe(1_000);
    expect(drawTokens(adaptive, state, ask(1), start + 300_000).state.slowdown).toBeNull();
  });

  it("never falls below its floor, never rises above its rate, and only rises while nothing is refused", () => {
    const report = fc.record({
      afterMs: fc.integer({ min: 0, max: 20_000 }),
      throttled: fc.integer({ min: 0, max: 3 }),
      waitMs: fc.integer({ min: 0, max: 5_000 }),
    });
    fc.assert(
      fc.property(fc.array(report), (reports) => {
        let state: Partial<BucketState> = {};
        let nowMs = start;
        let rate = adaptive.ratePerSecond;
        for (const { afterMs, throttled, waitMs } of reports) {
          nowMs += afterMs;
          const samples = { ...noSamples, throttled, waitMs };
          const drawn = drawTokens(adaptive, state, ask(5, { samples }), nowMs);
          state = drawn.state;
          const next = rateAt(adaptive, drawn.state.slowdown, nowMs);
          expect(next).toBeGreaterThanOrEqual(10);
          expect(next).toBeLessThanOrEqual(1_000);
          if (throttled === 0) expect(next).toBeGreaterThanOrEqual(rate - 1e-9);
          else if (waitMs > 0) expect(drawn.chunk).toBeNull();
          rate = next;
        }
      }),
    );
  });

  it("heeds nothing when it is not adaptive", () => {
    const drawn = drawTokens(plain, {}, ask(10, throttled(60_000)), start);
    expect(drawn.chunk?.tokens).toBe(10);
    expect(drawn.state.slowdown).toBeNull();
  });
});
