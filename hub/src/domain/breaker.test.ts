import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type BreakerPhase,
  type BreakerSettings,
  type BreakerState,
  drawThrough,
  rampMs,
  serviceOutcome,
} from "./breaker.js";
import { FailureClass } from "./failure-class.js";
import { noSamples, type RateAsk } from "./rate-draw.js";

const settings: BreakerSettings = {
  failureRatio: 0.5,
  samplesMin: 10,
  windowMs: 10_000,
  coolDownMs: 5_000,
  coolDownMaxMs: 30_000,
  probes: 3,
};
const start = 1_750_000_000_000;
const ask = (more: Partial<RateAsk> = {}): RateAsk => ({
  wanted: 0,
  settled: [],
  samples: noSamples,
  random: 0,
  ...more,
});
const outcomes = (answered: number, failed: number, turn: number) =>
  ask({ samples: { ...noSamples, answered, failed, turn } });

/** A breaker with its clock. */
function breaker() {
  let state: Partial<BreakerState> = {};
  let nowMs = start;
  const act = (request: RateAsk) => {
    const drawn = drawThrough(settings, state, request, nowMs);
    state = drawn.state;
    return drawn;
  };
  return {
    act,
    after: (ms: number) => {
      nowMs += ms;
    },
    get now() {
      return nowMs;
    },
    /** Opened at the time of the last failure. */
    opened: () => act(outcomes(5, 5, state.turn ?? 0)),
    halfOpened() {
      this.opened();
      nowMs += settings.coolDownMs;
      return act(ask({ wanted: 100 }));
    },
  };
}

describe("a breaker", () => {
  it("lets everything through without a draw while it is closed", () => {
    expect(breaker().act(ask({ wanted: 100 }))).toMatchObject({ isFree: true, chunk: null, turnedTo: null });
  });

  it.each([
    ["enough outcomes, half of them failures", 5, 5, "open"],
    ["more failures than answers", 0, 10, "open"],
    ["too few failures", 6, 5, null],
    ["too few outcomes", 0, 9, null],
  ])("judges %s", (_, answered, failed, turnedTo) => {
    expect(breaker().act(outcomes(answered, failed, 0)).turnedTo).toBe(turnedTo);
  });

  it("forgets what is older than its window", () => {
    const one = breaker();
    one.act(outcomes(0, 9, 0));
    one.after(settings.windowMs);
    expect(one.act(outcomes(0, 9, 0)).turnedTo).toBeNull();
  });

  it("grants nothing while it is open, and says until when", () => {
    const one = breaker();
    const opened = one.opened();
    expect(opened).toMatchObject({ turnedTo: "open", nextAtMs: start + settings.coolDownMs });
    one.after(settings.coolDownMs - 1);
    const drawn = one.act(ask({ wanted: 1 }));
    expect(drawn).toMatchObject({
      chunk: null,
      isFree: false,
      reason: "the breaker is open: 5 of 10 failed",
    });
  });

  it("lets as many probes through as were set, however many are wanted", () => {
    const one = breaker();
    expect(one.halfOpened()).toMatchObject({ turnedTo: "half_open", chunk: { tokens: 3 } });
    expect(one.act(ask({ wanted: 100 })).chunk).toBeNull();
  });

  it("closes when every probe was answered, and paces starts from then on", () => {
    const one = breaker();
    const { turn } = one.halfOpened();
    expect(one.act(outcomes(2, 0, turn)).turnedTo).toBeNull();
    const closed = one.act(outcomes(1, 0, turn));
    expect(closed).toMatchObject({ turnedTo: "closed", isFree: false });
    expect(one.act(ask({ wanted: 1_000 })).chunk?.tokens).toBe(3);
    one.after(2_000);
    expect(one.act(ask({ wanted: 1_000 })).chunk?.tokens).toBe(9);
    one.after(rampMs);
    expect(one.act(ask({ wanted: 1_000 }))).toMatchObject({ isFree: true });
  });

  it("opens again for longer when a probe fails, up to the bound", () => {
    const one = breaker();
    let { turn } = one.halfOpened();
    for (const coolDownMs of [10_000, 20_000, 30_000, 30_000]) {
      const again = one.act(outcomes(2, 1, turn));
      expect(again).toMatchObject({ turnedTo: "open", nextAtMs: one.now + coolDownMs });
      one.after(coolDownMs);
      turn = one.act(ask({ wanted: 1 })).turn;
    }
  });

  it("heeds no outcome of attempts that began before its last turn", () => {
    const one = breaker();
    const { turn } = one.halfOpened();
    expect(one.act(outcomes(50, 0, turn - 1)).turnedTo).toBeNull();
    expect(one.act(outcomes(0, 50, turn - 1)).turnedTo).toBeNull();
  });

  it("gives probes up of which nothing is heard, and lets others through", () => {
    const one = breaker();
    one.halfOpened();
    one.after(settings.coolDownMs - 1);
    expect(one.act(ask({ wanted: 9 })).chunk).toBeNull();
    one.after(1);
    expect(one.act(ask({ wanted: 9 })).chunk?.tokens).toBe(3);
  });

  it("lets another probe through for one that did not start", () => {
    const one = breaker();
    const { chunk } = one.halfOpened();
    const settled = [{ chunk: chunk?.chunk ?? 0, unused: 2, endedAgoMs: 0 }];
    expect(one.act(ask({ wanted: 9, settled })).chunk?.tokens).toBe(2);
  });

  it("keeps the newest turns for people, and no more", () => {
    const one = breaker();
    let { turn } = one.halfOpened();
    for (let round = 0; round < 20; round += 1) {
      one.act(outcomes(0, 1, turn));
      one.after(settings.coolDownMaxMs);
      turn = one.act(ask({ wanted: 1 })).turn;
    }
    const { turns } = one.act(ask()).state;
    expect(turns).toHaveLength(10);
    expect(turns.at(-1)).toMatchObject({ to: "half_open", why: "the cool-down is over" });
  });
});

describe("whatever hubs tell, a breaker", () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 6_000 }),
    wanted: fc.integer({ min: 0, max: 50 }),
    answered: fc.integer({ min: 0, max: 12 }),
    failed: fc.integer({ min: 0, max: 12 }),
    isOld: fc.boolean(),
  });

  it("goes from phase to phase as drawn, grants nothing open, and at most its probes half open", () => {
    const allowed = new Set(["closed>open", "open>half_open", "half_open>open", "half_open>closed"]);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let state: Partial<BreakerState> = {};
        let phase: BreakerPhase = "closed";
        let nowMs = start;
        let openUntilMs = 0;
        let probes = 0;
        let probesUntilMs = 0;
        for (const { afterMs, wanted, answered, failed, isOld } of steps) {
          nowMs += afterMs;
          const turn = (state.turn ?? 0) - (isOld ? 1 : 0);
          const samples = { ...noSamples, answered, failed, turn };
          const drawn = drawThrough(settings, state, ask({ wanted, samples }), nowMs);
          // One draw may both end a cool-down and be told of outcomes, which are then of an older turn.
          if (drawn.turnedTo !== null) expect(allowed).toContain(`${phase}>${drawn.turnedTo}`);
          if (drawn.state.phase === "open") expect(drawn).toMatchObject({ chunk: null, isFree: false });
          if (phase === "open" && nowMs < openUntilMs) expect(drawn.state.phase).toBe("open");
          if (drawn.state.phase === "half_open") {
            const isNew = drawn.turnedTo !== null || nowMs >= probesUntilMs;
            probes = (isNew ? 0 : probes) + (drawn.chunk?.tokens ?? 0);
            expect(probes).toBeLessThanOrEqual(settings.probes);
            probesUntilMs = drawn.state.untilMs;
          }
          if (drawn.turnedTo === "open") openUntilMs = drawn.state.untilMs;
          if (drawn.turnedTo !== null) phase = drawn.turnedTo;
          expect(drawn.state.phase).toBe(phase);
          state = drawn.state;
        }
      }),
    );
  });
});

it("Failures of a service are told from its answers, and from faults that are not its own", () => {
  const { ServerError, Timeout, Connection, SchemaMismatch, ClientError, RateLimited } = FailureClass;
  for (const one of [ServerError, Timeout, Connection]) expect(serviceOutcome(one)).toBe("failed");
  for (const one of [SchemaMismatch, ClientError, RateLimited]) expect(serviceOutcome(one)).toBe("answered");
  for (const one of [FailureClass.WorkerLost, FailureClass.Other]) expect(serviceOutcome(one)).toBeNull();
});
