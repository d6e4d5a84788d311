import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BreakerSettings } from "../domain/breaker.js";
import { GateType, type RateGate } from "../domain/gate.js";
import { drawFrom } from "../domain/rate-gate.js";
import type { BucketSettings } from "../domain/token-bucket.js";
import { Allowance, drawSpacingMs } from "./allowance.js";

const epochMs = 1_750_000_000_000;

function bucketGate(settings: Partial<BucketSettings> = {}): RateGate {
  return {
    gateId: 1,
    tenantId: 1,
    type: GateType.Bucket,
    target: { type: "source", source: "mail" },
    settings: { note: "", ratePerSecond: 100, capacity: 100, adaptive: null, ...settings },
    sinceMs: epochMs,
    state: {},
  };
}

function breakerGate(settings: Partial<BreakerSettings> = {}): RateGate {
  const usual = { failureRatio: 0.5, samplesMin: 4, windowMs: 10_000, coolDownMs: 5_000 };
  return {
    ...bucketGate(),
    type: GateType.Breaker,
    settings: { note: "", ...usual, coolDownMaxMs: 60_000, probes: 2, ...settings },
    state: {},
  };
}

/** A gate's row, and hubs that draw from it, all in simulated time. */
class World {
  readonly gate: RateGate;
  readonly hubs: Allowance[];
  readonly starts: { readonly hub: number; readonly atMs: number }[] = [];
  draws = 0;
  nowMs = 0;
  state: RateGate["state"] = {};
  /** Answers that are on their way. */
  readonly #coming: { readonly atMs: number; readonly act: () => void }[] = [];
  readonly #busy = new Set<number>();

  constructor(gate: RateGate, hubs: number) {
    this.gate = gate;
    this.hubs = Array.from({ length: hubs }, () => new Allowance(gate, 0, () => undefined));
  }

  /** One millisecond, in which each hub starts what it may of what waits at it. */
  step(waiting: (hub: number) => number, delayMs: (hub: number) => number, random: () => number): void {
    this.nowMs += 1;
    for (;;) {
      const at = this.#coming.findIndex(({ atMs }) => atMs <= this.nowMs);
      if (at < 0) break;
      this.#coming.splice(at, 1)[0]?.act();
    }
    for (const [hub, allowance] of this.hubs.entries()) {
      allowance.takeStep(this.nowMs);
      const wants = waiting(hub);
      if (wants > 0) {
        const startsMax = Math.min(wants, allowance.startsMax(this.nowMs));
        allowance.take(startsMax, this.nowMs);
        for (let one = 0; one < startsMax; one += 1) this.starts.push({ hub, atMs: this.nowMs });
      }
      if (!this.#busy.has(hub) && allowance.dueAt(this.nowMs) <= this.nowMs)
        this.#draw(hub, delayMs(hub), random());
    }
  }

  #draw(hub: number, delayMs: number, random: number): void {
    const allowance = this.hubs[hub] as Allowance;
    const sent = allowance.send(this.nowMs, random);
    this.#busy.add(hub);
    this.draws += 1;
    const askedAtMs = this.nowMs;
    this.#coming.push({
      atMs: askedAtMs + delayMs / 2,
      act: () => {
        const nowMs = epochMs + this.nowMs;
        const { state, ...drawn } = drawFrom(
          { ...this.gate, state: this.state } as RateGate,
          sent.ask,
          nowMs,
        );
        this.state = state;
        this.#coming.push({
          atMs: askedAtMs + delayMs,
          act: () => {
            this.#busy.delete(hub);
            allowance.answered(sent, { ...drawn, nowMs }, this.nowMs);
          },
        });
      },
    });
  }
}

const endless = () => Number.MAX_SAFE_INTEGER;

describe("the allowances of three hubs", () => {
  it("keep to the rate of their bucket in the long run, within 2 % (D19)", () => {
    const rate = fc.integer({ min: 1, max: 2_000 });
    const delay = fc.integer({ min: 1, max: 60 });
    fc.assert(
      fc.property(
        rate,
        delay,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (rate, delayMs, randoms) => {
          const random = () => randoms.next().value as number;
          // A full bucket loses what comes in: it has room for what comes while a draw is on its way.
          const capacity = rate + 1;
          const world = new World(bucketGate({ ratePerSecond: rate, capacity }), 3);
          const seconds = 60 + Math.ceil(100 / rate);
          for (let ms = 0; ms < seconds * 1_000; ms += 1) world.step(endless, () => delayMs, random);
          const allowed = capacity + rate * seconds;
          expect(world.starts.length).toBeLessThanOrEqual(allowed);
          expect(world.starts.length).toBeGreaterThanOrEqual(0.98 * allowed - 2);
          expect(world.draws).toBeLessThanOrEqual((3 * seconds * 1_000) / drawSpacingMs + 3);
        },
      ),
      { numRuns: 12 },
    );
  }, 60_000);

  it("never start more at once than one bucket would, whatever comes and goes (D19)", () => {
    const phase = fc.record({
      ms: fc.integer({ min: 1, max: 1_500 }),
      waiting: fc.tuple(fc.nat(30), fc.nat(30), fc.nat(30)),
      delayMs: fc.tuple(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 5 }),
      ),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(phase, { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (rate, times, phases, randoms) => {
          const capacity = Math.ceil((rate / 2) * times) + 1;
          const world = new World(bucketGate({ ratePerSecond: rate, capacity }), 3);
          for (const { ms, waiting, delayMs } of phases)
            for (let at = 0; at < ms; at += 1)
              world.step(
                (hub) => waiting[hub] as number,
                (hub) => delayMs[hub] as number,
                () => randoms.next().value as number,
              );
          let level = capacity;
          let atMs = 0;
          for (const start of world.starts) {
            level = Math.min(capacity, level + (rate * (start.atMs - atMs)) / 1_000) - 1;
            atMs = start.atMs;
            expect(level).toBeGreaterThan(-1e-6);
          }
        },
      ),
      { numRuns: 100 },
    );
  }, 60_000);

  it("give back what they do not use, so that a scarce bucket serves the hub that has work", () => {
    const world = new World(bucketGate({ ratePerSecond: 1, capacity: 10 }), 3);
    // The first hub draws all, starts one and has nothing more to do.
    let waiting = 1;
    for (let ms = 0; ms < 100; ms += 1) {
      world.step(
        (hub) => (hub === 0 && waiting-- > 0 ? 1 : 0),
        () => 4,
        () => 0.5,
      );
      if (world.starts.length === 0) waiting = 1;
    }
    for (let ms = 0; ms < 2_500; ms += 1)
      world.step(
        (hub) => (hub === 1 ? 100 : 0),
        () => 4,
        () => 0.5,
      );
    expect(world.starts.filter(({ hub }) => hub === 1).length).toBeGreaterThanOrEqual(9);
  });
});

describe("an allowance", () => {
  const granted = (tokens: number, nowMs = epochMs) => ({
    chunk: { chunk: 1, tokens, lifeMs: 400 },
    isFree: false,
    nextAtMs: null,
    reason: "",
    turn: 0,
    turnedTo: null,
    nowMs,
  });

  it("is good until its life after the hub asked, however late the answer came", () => {
    const allowance = new Allowance(bucketGate(), 0, () => undefined);
    allowance.startsMax(0);
    const sent = allowance.send(0, 0);
    allowance.answered(sent, granted(512), 390);
    expect(allowance.startsMax(399)).toBe(512);
    expect(allowance.startsMax(400)).toBe(0);
    expect(allowance.send(600, 0).ask.settled).toEqual([{ chunk: 1, unused: 512, endedAgoMs: 200 }]);
    expect(allowance.send(900, 0).ask.settled).toEqual([]);
  });

  it("is drawn again before it ends, as long as something waits", () => {
    const world = new World(bucketGate({ ratePerSecond: 10_000, capacity: 10_000 }), 1);
    const held: number[] = [];
    for (let ms = 0; ms < 5_000; ms += 1) {
      world.step(
        () => 2,
        () => 100,
        () => 0.5,
      );
      if (ms > 500 && world.starts.at(-1)?.atMs !== world.nowMs) held.push(world.nowMs);
    }
    expect(held).toEqual([]);
  });

  it("takes back starts that did not happen while it is good, and drops them afterwards", () => {
    const allowance = new Allowance(bucketGate(), 0, () => undefined);
    allowance.startsMax(0);
    allowance.answered(allowance.send(0, 0), granted(512), 1);
    allowance.take(500, 2);
    allowance.giveBack(100, 3);
    expect(allowance.startsMax(3)).toBe(112);
    allowance.giveBack(1_000, 4);
    expect(allowance.startsMax(4)).toBe(512);
    allowance.take(512, 5);
    allowance.giveBack(10, 400);
    expect(allowance.startsMax(400)).toBe(0);
  });

  it("starts nothing more when the service asked to wait, and gives back what it held", () => {
    const gate = bucketGate({ adaptive: { floorPerSecond: 1, recoveryMs: 1_000 } });
    const allowance = new Allowance(gate, 0, () => undefined);
    allowance.startsMax(0);
    allowance.answered(allowance.send(0, 0), granted(512), 1);
    allowance.take(12, 2);
    allowance.noteThrottled(5_000, 3);
    expect(allowance.startsMax(3)).toBe(0);
    const { ask } = allowance.send(200, 0);
    expect(ask.settled).toEqual([{ chunk: 1, unused: 500, endedAgoMs: 197 }]);
    expect(ask.samples).toMatchObject({ throttled: 1, waitMs: 4_803 });
  });

  it("tells again what the ledger may not have heard", () => {
    const gate = bucketGate({ adaptive: { floorPerSecond: 1, recoveryMs: 1_000 } });
    const allowance = new Allowance(gate, 0, () => undefined);
    allowance.noteThrottled(5_000, 10);
    const lost = allowance.send(10, 0);
    expect(lost.ask.samples).toMatchObject({ throttled: 1, waitMs: 5_000 });
    allowance.failed(lost);
    expect(allowance.send(1_010, 0).ask.samples).toMatchObject({ throttled: 1, waitMs: 4_000 });
  });

  it("of a breaker counts outcomes only of attempts that began in its phase", () => {
    const allowance = new Allowance(breakerGate(), 0, () => undefined);
    const opened = { ...granted(2), turn: 2 };
    allowance.noteOutcome("failed", 5);
    expect(allowance.send(10, 0).ask.samples).toMatchObject({ failed: 1, turn: 0 });
    allowance.startsMax(300);
    allowance.answered(allowance.send(300, 0), opened, 301);
    allowance.noteOutcome("failed", 300);
    allowance.noteOutcome("answered", 302);
    expect(allowance.send(600, 0).ask.samples).toMatchObject({ answered: 1, failed: 0, turn: 2 });
  });

  it("of a breaker that had turned before this hub knew it hears nothing of attempts from before", () => {
    const state = { phase: "half_open", turn: 5, turns: [] } as const;
    const allowance = new Allowance({ ...breakerGate(), state } as RateGate, 7, () => undefined);
    allowance.noteOutcome("failed", 0);
    expect(allowance.dueAt(8)).toBe(Number.POSITIVE_INFINITY);
    allowance.noteOutcome("failed", 8);
    expect(allowance.send(9, 0).ask.samples).toMatchObject({ failed: 1, turn: 5 });
  });

  it("of a breaker that another hub opened is void at once", () => {
    const allowance = new Allowance(breakerGate(), 0, () => undefined);
    allowance.startsMax(0);
    allowance.answered(allowance.send(0, 0), { ...granted(0), chunk: null, isFree: true }, 1);
    expect(allowance.startsMax(2)).toBe(Number.POSITIVE_INFINITY);
    const state = { phase: "open", turn: 1, untilMs: epochMs + 5_000, turns: [] } as const;
    allowance.adopt({ ...breakerGate(), state } as RateGate, 3);
    expect(allowance.startsMax(3)).toBe(0);
    expect(allowance.holdOf(3)).toMatchObject({ untilMs: epochMs + 5_000 });
  });
});
