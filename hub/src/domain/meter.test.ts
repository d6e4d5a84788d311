import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admit, dollars, fittingFrom, isFull, type MeterAsk, type MeterLevel, noLimits } from "./meter.js";

function level(meterId: number, more: Partial<MeterLevel> = {}): MeterLevel {
  const empty = { jobs: 0, cost: 0, tokens: 0, promised: 0, turnsAtMs: null };
  return { meterId, target: `queue:${meterId}`, limits: noLimits, ...empty, ...more };
}

function ask(jobId: string, score: number, more: Partial<MeterAsk> = {}): MeterAsk {
  return { jobId, score, isCritical: false, cost: 0, tokens: 0, meterIds: [1], declared: null, ...more };
}

function granted(levels: readonly MeterLevel[], asks: readonly MeterAsk[]): string[] {
  const admissions = admit(new Map(levels.map((one) => [one.meterId, one])), asks);
  return asks.filter(({ jobId }) => admissions.get(jobId)?.type === "granted").map(({ jobId }) => jobId);
}

const jobsMax = (max: number) => ({ limits: { ...noLimits, jobsMax: max } });
const costMax = (max: number) => ({ limits: { ...noLimits, costMax: max } });

describe("jobs that ask for room", () => {
  it("get it in the order of their scores, as long as there is any", () => {
    const asks = [ask("a", 1), ask("b", 3), ask("c", 2)];
    expect(granted([level(1, { ...jobsMax(4), jobs: 2 })], asks)).toEqual(["b", "c"]);
  });

  it("are refused by the first meter that is full, with what it is full of and until when", () => {
    const levels = new Map([
      [1, level(1, { ...costMax(1_500_000), cost: 1_500_000, turnsAtMs: 99 })],
      [2, level(2, { ...jobsMax(0) })],
    ]);
    expect(admit(levels, [ask("a", 1, { meterIds: [1, 2] })]).get("a")).toEqual({
      type: "refused",
      meterId: 1,
      reason: "queue:1 is at its limit of 1.50 US dollars",
      untilMs: 99,
    });
  });

  it("that wait at one meter take nothing of another", () => {
    const levels = [level(1, jobsMax(1)), level(2, { ...jobsMax(5), jobs: 5 })];
    expect(granted(levels, [ask("both", 2, { meterIds: [1, 2] }), ask("one", 1)])).toEqual(["one"]);
  });

  it("pass one that is too large for what is left", () => {
    const asks = [ask("large", 2, { cost: 60 }), ask("small", 1, { cost: 40 })];
    expect(granted([level(1, { ...costMax(100), cost: 50 })], asks)).toEqual(["small"]);
  });

  it("that ask for nothing do not pass a limit that is reached", () => {
    expect(granted([level(1, { ...costMax(100), cost: 100 })], [ask("free", 1)])).toEqual([]);
  });

  it("keep to the lower of what they declare and what an operator set", () => {
    const declared = (max: number | null) => ({ declared: { meterId: 1, jobsMax: max } });
    const asks = [ask("a", 3, declared(2)), ask("b", 2, declared(1)), ask("c", 1, declared(null))];
    expect(granted([level(1)], asks)).toEqual(["a", "c"]);
    expect(granted([level(1, jobsMax(1))], asks)).toEqual(["a"]);
  });

  it("leave seats alone that are promised to critical ones", () => {
    const seats = [level(1, { ...jobsMax(2), jobs: 1, promised: 1 })];
    expect(granted(seats, [ask("normal", 9)])).toEqual([]);
    expect(granted(seats, [ask("critical", 1, { isCritical: true })])).toEqual(["critical"]);
  });

  it("get the seats that are left once critical ones sit on those that were promised", () => {
    const seats = [level(1, { ...jobsMax(2), promised: 1 })];
    const asks = [ask("critical", 9, { isCritical: true }), ask("normal", 1)];
    expect(granted(seats, asks)).toEqual(["critical", "normal"]);
  });

  it("never pass a limit together, and whoever was refused fits no more (D18)", () => {
    const bound = fc.option(fc.integer({ min: 0, max: 20 }), { nil: null });
    const levels = fc
      .tuple(
        fc.record({ jobsMax: bound, costMax: bound, tokensMax: bound }),
        fc.nat(5),
        fc.nat(10),
        fc.nat(10),
      )
      .map(([limits, jobs, cost, tokens]) => ({ limits, jobs, cost, tokens }));
    const asks = fc.array(
      fc.record({
        ...{ score: fc.integer({ min: -5, max: 5 }), cost: fc.nat(6), tokens: fc.nat(6) },
        meterIds: fc.subarray([1, 2, 3]),
      }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(fc.tuple(levels, levels, levels), asks, (states, wanted) => {
        const known = new Map(states.map((state, at) => [at + 1, level(at + 1, state)]));
        const all = wanted.map((one, at) => ask(`job-${at}`, one.score, one));
        const admissions = admit(known, all);
        for (const { meterId, limits, jobs, cost, tokens } of known.values()) {
          const passed = all.filter(
            (one) => one.meterIds.includes(meterId) && admissions.get(one.jobId)?.type === "granted",
          );
          if (passed.length === 0) continue;
          const sum = (of: (one: MeterAsk) => number) => passed.reduce((total, one) => total + of(one), 0);
          expect(jobs + passed.length).toBeLessThanOrEqual(limits.jobsMax ?? Number.POSITIVE_INFINITY);
          expect(cost + sum((one) => one.cost)).toBeLessThanOrEqual(
            limits.costMax ?? Number.POSITIVE_INFINITY,
          );
          expect(tokens + sum((one) => one.tokens)).toBeLessThanOrEqual(
            limits.tokensMax ?? Number.POSITIVE_INFINITY,
          );
        }
        // With what was granted taken, nobody who was refused would be let in now.
        const after = new Map(
          [...known].map(([meterId, one]) => {
            const passed = all.filter(
              (job) => job.meterIds.includes(meterId) && admissions.get(job.jobId)?.type === "granted",
            );
            const sum = (of: (job: MeterAsk) => number) => passed.reduce((total, job) => total + of(job), 0);
            return [
              meterId,
              {
                ...one,
                jobs: one.jobs + passed.length,
                cost: one.cost + sum((job) => job.cost),
                tokens: one.tokens + sum((job) => job.tokens),
              },
            ];
          }),
        );
        for (const one of all)
          if (admissions.get(one.jobId)?.type === "refused")
            expect(admit(after, [one]).get(one.jobId)?.type).toBe("refused");
      }),
    );
  });
});

describe("jobs that wait", () => {
  it("come back from the first on, and none passes one that does not fit yet", () => {
    const waiting = [ask("a", 3, { cost: 10 }), ask("b", 2, { cost: 50 }), ask("c", 1, { cost: 1 })];
    expect(fittingFrom(level(1, costMax(40)), waiting)).toBe(1);
    expect(fittingFrom(level(1, costMax(60)), waiting)).toBe(2);
    expect(fittingFrom(level(1, costMax(61)), waiting)).toBe(3);
  });

  it("are left where they are by a meter that is full", () => {
    expect(isFull(level(1, { ...jobsMax(3), jobs: 3 }))).toBe(true);
    expect(isFull(level(1, { ...jobsMax(3), jobs: 2 }))).toBe(false);
    expect(isFull(level(1, { jobs: 1_000_000 }))).toBe(false);
  });
});

it.each([
  [0, "0.00"],
  [1, "0.000001"],
  [1_500_000, "1.50"],
  [123_456_789_000_000, "123456789.00"],
])("%d millionths of a dollar are written as %s", (microUsd, text) => {
  expect(dollars(microUsd)).toBe(text);
});
