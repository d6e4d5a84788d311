import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { noFairness } from "./job-spec.js";
import {
  CatchUpPolicy,
  type Due,
  decideFiring,
  decideTrigger,
  inTimeMs,
  OverlapPolicy,
  type ScheduleSpec,
  type ScheduleState,
  scheduledJob,
} from "./schedule.js";

const minuteMs = 60_000;

function spec(overrides: Partial<ScheduleSpec> = {}): ScheduleSpec {
  return {
    cadence: { type: "interval", everyMs: 5 * minuteMs, anchorMs: 0 },
    job: {
      kind: "greet",
      product: "default",
      queue: "default",
      priority: 2,
      capabilities: [],
      source: "",
      fairness: noFairness,
      contentType: "",
      options: {},
    },
    overlap: OverlapPolicy.Skip,
    replaceGraceMs: 0,
    catchUp: CatchUpPolicy.Skip,
    catchUpWindowMs: 86_400_000,
    jitterMs: 0,
    startsAtMs: null,
    endsAtMs: null,
    eventSource: "",
    ...overrides,
  };
}

const due = (minute: number): Due => ({ atMs: minute * minuteMs, priorMs: (minute - 5) * minuteMs });
const state = (overrides: Partial<ScheduleState> = {}): ScheduleState => ({
  next: due(5),
  waiting: null,
  isOpen: false,
  ...overrides,
});
const minutes = (dues: readonly Due[]) => dues.map(({ atMs }) => atMs / minuteMs);

describe("a time that comes while the newest job is open", () => {
  it.each([
    ["skip lets it pass", OverlapPolicy.Skip, null, { fire: [], waiting: null, skipped: 1 }],
    ["allow fires it", OverlapPolicy.Allow, null, { fire: [5], waiting: null, skipped: 0 }],
    ["queue-one lets it wait", OverlapPolicy.QueueOne, null, { fire: [], waiting: 5, skipped: 0 }],
    ["queue-one lets a second one pass", OverlapPolicy.QueueOne, 0, { fire: [], waiting: 0, skipped: 1 }],
    ["replace lets it wait", OverlapPolicy.Replace, null, { fire: [], waiting: 5, skipped: 0 }],
    ["replace lets the newer one wait", OverlapPolicy.Replace, 0, { fire: [], waiting: 5, skipped: 1 }],
  ])("%s", (_promise, overlap, waiting, expected) => {
    const stood = state({ isOpen: true, waiting: waiting === null ? null : due(waiting) });

    const firing = decideFiring(spec({ overlap }), stood, 5 * minuteMs);

    expect({
      ...firing,
      fire: minutes(firing.fire),
      waiting: firing.waiting && minutes([firing.waiting])[0],
    }).toMatchObject({ ...expected, isReplacing: overlap === OverlapPolicy.Replace });
    expect(firing.next?.atMs).toBe(10 * minuteMs);
  });

  it("that waited is fired once the job has ended, and the next waits for it in turn", () => {
    const stood = state({ waiting: due(0) });
    const firing = decideFiring(spec({ overlap: OverlapPolicy.QueueOne }), stood, 5 * minuteMs);
    expect(minutes(firing.fire)).toEqual([0]);
    expect(firing.waiting?.atMs).toBe(5 * minuteMs);
  });
});

describe("times that passed while no hub ran", () => {
  const hourLater = 65 * minuteMs + 30_000;

  it.each([
    ["skip fires only what is in time", CatchUpPolicy.Skip, [65], 12],
    ["last fires only what is in time, if anything is", CatchUpPolicy.Last, [65], 12],
    ["all fires each of them", CatchUpPolicy.All, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65], 0],
  ])("%s", (_promise, catchUp, fired, missed) => {
    const firing = decideFiring(spec({ catchUp, overlap: OverlapPolicy.Allow }), state(), hourLater);
    expect(minutes(firing.fire)).toEqual(fired);
    expect(firing).toMatchObject({ missed, next: { atMs: 70 * minuteMs, priorMs: 65 * minuteMs } });
  });

  it.each([
    ["skip fires nothing when nothing is in time", CatchUpPolicy.Skip, [], 13],
    ["last fires the newest", CatchUpPolicy.Last, [65], 12],
  ])("%s", (_promise, catchUp, fired, missed) => {
    const firing = decideFiring(spec({ catchUp }), state(), hourLater + 2 * minuteMs);
    expect(minutes(firing.fire)).toEqual(fired);
    expect(firing).toMatchObject({ missed, next: { atMs: 70 * minuteMs } });
  });

  it("those older than the window pass in any case", () => {
    const catchUp = { catchUpWindowMs: 12 * minuteMs, overlap: OverlapPolicy.Allow };
    const all = decideFiring(spec({ ...catchUp, catchUp: CatchUpPolicy.All }), state(), hourLater);
    expect(minutes(all.fire)).toEqual([55, 60, 65]);
    const last = decideFiring(
      spec({ catchUpWindowMs: minuteMs, catchUp: CatchUpPolicy.Last }),
      state(),
      hourLater + 2 * minuteMs,
    );
    expect(last).toMatchObject({ fire: [], missed: 13 });
  });

  it("of very many, some are fired at each look and none is left out", () => {
    const everySecond = spec({
      cadence: { type: "interval", everyMs: 1_000, anchorMs: 0 },
      catchUp: CatchUpPolicy.All,
      overlap: OverlapPolicy.Allow,
    });
    let stood = state({ next: { atMs: 1_000, priorMs: 0 } });
    const fired: number[] = [];
    for (let looks = 0; looks < 10; looks += 1) {
      const firing = decideFiring(everySecond, stood, 250_000);
      fired.push(...firing.fire.map(({ atMs }) => atMs));
      stood = state({ next: firing.next });
    }
    expect(fired).toEqual(Array.from({ length: 250 }, (_, at) => (at + 1) * 1_000));
  });
});

it("however hubs look, times that are caught up make windows without gap or overlap", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 400 * minuteMs }), { minLength: 1, maxLength: 30 }),
      (pauses) => {
        const all = spec({ catchUp: CatchUpPolicy.All, overlap: OverlapPolicy.Allow, eventSource: "clicks" });
        let stood = state();
        let nowMs = 0;
        const windows: (readonly [number, number])[] = [];
        for (const pauseMs of pauses) {
          nowMs += pauseMs;
          const firing = decideFiring(all, stood, nowMs);
          for (const fired of firing.fire) windows.push([fired.priorMs as number, fired.atMs]);
          stood = state({ next: firing.next });
        }
        for (const [at, [from, to]] of windows.entries()) {
          expect(from).toBe(at * 5 * minuteMs);
          expect(to).toBe((at + 1) * 5 * minuteMs);
        }
        expect(windows.length).toBe(Math.floor(nowMs / (5 * minuteMs)));
      },
    ),
  );
});

it("triggering changes nothing about the times, and obeys the overlap policy", () => {
  expect(decideTrigger(spec(), state({ isOpen: true }), 17)).toMatchObject({
    fire: [],
    skipped: 1,
    next: due(5),
  });
  expect(decideTrigger(spec(), state(), 17)).toMatchObject({
    fire: [{ atMs: 17, priorMs: null }],
    next: due(5),
  });
});

describe("the job of a time", () => {
  const schedule = {
    scheduleId: "s",
    name: "nightly",
    spec: spec({ eventSource: "clicks", jitterMs: 1_000 }),
  };

  it("is the same whoever makes it: key, labels, window and jitter", () => {
    const job = scheduledJob(schedule, due(10), false);
    expect(job).toEqual(scheduledJob(schedule, due(10), false));
    expect(job).toMatchObject({
      idempotencyKey: "schedule/s/1970-01-01T00:10:00.000Z",
      options: {
        labels: {
          schedule: "nightly",
          scheduled_for: "1970-01-01T00:10:00.000Z",
          window_source: "clicks",
          window_from: "1970-01-01T00:05:00.000Z",
          window_to: "1970-01-01T00:10:00.000Z",
        },
        window: { source: "clicks", fromMs: 5 * minuteMs, toMs: 10 * minuteMs },
      },
    });
    const lateMs = (job.runAtMs as number) - 10 * minuteMs;
    expect(lateMs).toBeGreaterThanOrEqual(0);
    expect(lateMs).toBeLessThanOrEqual(1_000);
  });

  it("that was triggered has neither key nor window nor jitter", () => {
    const { idempotencyKey, runAtMs, options } = scheduledJob(schedule, { atMs: 17, priorMs: null }, true);
    expect({ idempotencyKey, runAtMs, window: options.window }).toEqual({
      idempotencyKey: "",
      runAtMs: null,
    });
  });
});

it("a hub that restarts within a minute misses nothing", () => {
  expect(decideFiring(spec(), state(), 5 * minuteMs + inTimeMs).fire).toHaveLength(1);
  expect(decideFiring(spec(), state(), 5 * minuteMs + inTimeMs + 1).fire).toHaveLength(0);
});
