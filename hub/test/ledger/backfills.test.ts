import fc from "fast-check";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import {
  type BackfillRange,
  BackfillState,
  type WindowCounts,
  WindowState,
} from "../../src/domain/backfill.js";
import { type EventWindow, noFairness } from "../../src/domain/job-spec.js";
import { JobState } from "../../src/domain/job-state.js";
import type { Outcome } from "../../src/domain/outcome.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { adoptAll } from "../harness/inbox-acts.js";
import { done, failed, quickRetry, reportItem, submitMany, submitOne } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const desk = await openLedgerDesk();
const { room } = desk;
const operator = { tenantId: 1, subject: "ops", reason: "hole of March", ticket: "T-1" };
const firstUuid = "00000000-0000-0000-0000-000000000000";
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const beginMs = Date.parse("2026-03-01T00:00:00Z");
const lost = { ...failed, permanent: true } as Outcome;

const rangeOf = (source: string, fromHour: number, toHour: number): BackfillRange => ({
  source,
  fromMs: beginMs + fromHour * hourMs,
  toMs: beginMs + toHour * hourMs,
  stepMs: hourMs,
});
const windowOf = (source: string, hour: number): EventWindow => rangeOf(source, hour, hour + 1);
const hourOf = (ms: number) => (ms - beginMs) / hourMs;

async function start(
  range: BackfillRange,
  inFlightMax = 1_000,
  perMinuteMax: number | null = null,
): Promise<string> {
  const backfillId = uuidv7();
  const job = {
    kind: "greet",
    product: "default",
    queue: "default",
    priority: 1,
    capabilities: [],
    source: "",
    fairness: noFairness,
    contentType: "",
    options: { retry: quickRetry },
  } as const;
  const backfill = { backfillId, range, job, payload: Buffer.from("again"), inFlightMax, perMinuteMax };
  await room.ledger.startBackfill(operator, backfill);
  return backfillId;
}

/** One look of a hub at all backfills. */
async function step(ledger: Ledger = room.ledger): Promise<number> {
  let submitted = 0;
  for (const backfill of await ledger.readActiveBackfills(firstUuid, 100)) {
    const counts = await ledger.submitWindows(backfill);
    if (counts.submitted === 0) await ledger.finishBackfill(backfill.backfillId);
    submitted += counts.submitted;
  }
  return submitted;
}

const read = async (backfillId: string) => {
  const [backfill] = await room.ledger.readBackfills(1, backfillId, "", 1);
  if (!backfill) throw new Error(`${backfillId} is not there`);
  return backfill;
};
const counts = async (backfillId: string): Promise<Partial<WindowCounts>> =>
  Object.fromEntries(Object.entries((await read(backfillId)).windows).filter(([, count]) => count > 0));
const windows = (backfillId: string, state = 0) => room.ledger.listWindows(backfillId, state, 0, 1_000);
const watermark = async (source: string) => (await room.ledger.readWatermarks(1, source, "", 1))[0];

async function end(jobId: string, outcome: Outcome = done): Promise<void> {
  const lease = await desk.claim(jobId);
  await room.ledger.report([reportItem(desk.sessionId, lease, outcome)]);
}

const submitLive = (window: EventWindow) => submitOne(room, { options: { window } });
const readyJobs = async (source: string) =>
  (
    await room.sql<{ id: string }>(
      "select id from job where state = $1 and options #>> '{window,source}' = $2 order by id",
      [JobState.Ready, source],
    )
  ).map(({ id }) => id);

/** Adopts what waits in the inbox; answers the open jobs of a source in order of their windows. */
async function adopted(source: string): Promise<string[]> {
  await adoptAll(room);
  const jobs = await room.sql<{ id: string }>(
    "select id from job where state < 6 and options #>> '{window,source}' = $1 order by options #>> '{window,fromMs}'",
    [source],
  );
  return jobs.map(({ id }) => id);
}

/** Every job that ever succeeded, by the hour of its window. */
const successes = async (source: string) =>
  (
    await room.sql<{ from_ms: string }>(
      "select options #>> '{window,fromMs}' as from_ms from job where state = 6 and options #>> '{window,source}' = $1",
      [source],
    )
  )
    .map(({ from_ms }) => hourOf(Number(from_ms)))
    .sort((a, b) => a - b);

type Act = "step" | "race" | "torn step" | "adopt" | "end" | "fail" | "live" | "fold" | "pause" | "resume";
const someAct = fc.constantFrom<Act>(
  "step",
  "race",
  "torn step",
  "adopt",
  "adopt",
  "end",
  "end",
  "fail",
  "live",
  "fold",
  "pause",
  "resume",
);

it("a window of a backfill is never run twice nor left out: several hubs that are killed half-way, two backfills over each other, live work between", async () => {
  const hubs = [room.ledger, await room.openLedger(), await room.openLedger()];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ act: someAct, at: fc.nat(1_000) }), { minLength: 20, maxLength: 60 }),
      fc.integer({ min: 1, max: 12 }),
      async (acts, inFlightMax) => {
        const source = `s-${uuidv7()}`;
        await submitLive(windowOf(source, 3)).then(end);
        await submitLive(windowOf(source, 7));
        const backfills = [
          await start(rangeOf(source, 0, 20), inFlightMax),
          await start(rangeOf(source, 10, 30), 2),
        ];
        let looks: (() => Promise<void>)[] = [];
        for (const { act, at } of acts) {
          const hub = hubs[at % 3] as Ledger;
          const backfillId = backfills[at % 2] as string;
          if (act === "step")
            await Promise.all([step(hub), step(hubs[(at + 1) % 3] as Ledger), adoptAll(room, hub)]);
          else if (act === "race") {
            // Each backfill on a hub of its own, in the same moment.
            const seen = await hub.readActiveBackfills(firstUuid, 100);
            await Promise.all(seen.map((backfill, n) => (hubs[n % 3] as Ledger).submitWindows(backfill)));
          } else if (act === "torn step") {
            // A hub that is slow: it looks now, and writes only after others did.
            const seen = await hub.readActiveBackfills(firstUuid, 100);
            looks.push(
              async () => void (await Promise.all(seen.map((backfill) => hub.submitWindows(backfill)))),
            );
            if (looks.length > 2) for (const late of looks.splice(0)) await late();
          } else if (act === "adopt") await Promise.all([adoptAll(room, hubs[0]), adoptAll(room, hubs[1])]);
          else if (act === "fold") await Promise.all(hubs.map((one) => one.foldWindows()));
          else if (act === "pause" || act === "resume")
            await hub.changeBackfill(operator, backfillId, { type: act });
          else if (act === "live") {
            const known = [
              ...(await windows(backfills[0] as string)),
              ...(await windows(backfills[1] as string)),
            ];
            const hour = at % 30;
            const taken = known.some(
              ({ fromMs, state }) => hourOf(fromMs) === hour && state !== WindowState.Waiting,
            );
            const jobs = await room.sql(
              "select from job where options #>> '{window,source}' = $1 and options #>> '{window,fromMs}' = $2",
              [source, String(windowOf(source, hour).fromMs)],
            );
            if (!taken && jobs.length === 0) await submitLive(windowOf(source, hour));
          } else {
            const ready = await readyJobs(source);
            const jobId = ready[at % Math.max(ready.length, 1)];
            if (jobId) await end(jobId, act === "fail" ? failed : done);
            await room.ledger.fireReadyTimers(100);
          }
        }
        for (const late of looks) await late();
        looks = [];
        for (const backfillId of backfills)
          await room.ledger.changeBackfill(operator, backfillId, { type: "resume" });
        const finished = async () =>
          (await Promise.all(backfills.map(read))).every(({ state }) => state === BackfillState.Finished);
        for (let rounds = 0; !(await finished()) && rounds < 200; rounds += 1) {
          await Promise.all(hubs.map(step));
          await adoptAll(room);
          await room.ledger.fireReadyTimers(100);
          for (const jobId of await readyJobs(source)) await end(jobId);
        }
        for (const jobId of await readyJobs(source)) await end(jobId);

        expect(await successes(source)).toEqual(Array.from({ length: 30 }, (_, hour) => hour));
        expect(await watermark(source)).toMatchObject({ open: 0, failed: 0 });
        expect((await watermark(source))?.done).toEqual([{ fromMs: beginMs, toMs: beginMs + 30 * hourMs }]);
        const jobs = await room.sql<{ count: number }>(
          "select count(*)::integer from job where options #>> '{window,source}' = $1 group by options #>> '{window,fromMs}'",
          [source],
        );
        expect(jobs).toEqual(Array.from({ length: 30 }, () => ({ count: 1 })));
      },
    ),
    { numRuns: 12 },
  );
}, 180_000);

describe("a preview", () => {
  it("counts what is done, what open jobs are at, and what would run, as the start then does", async () => {
    await submitLive({ source: "preview", fromMs: beginMs, toMs: beginMs + dayMs / 2 }).then(end);
    await submitLive(windowOf("preview", 13));
    await submitLive({ ...windowOf("preview", 20), toMs: beginMs + 22 * hourMs });
    const range = { ...rangeOf("preview", 0, 24), toMs: beginMs + 24 * hourMs - 1 };

    const preview = await room.ledger.previewBackfill(1, range);
    const backfillId = await start(range);
    await step();

    expect(preview).toMatchObject({ total: 24, done: 12, open: 3 });
    expect(preview.first.map(({ fromMs }) => hourOf(fromMs))).toEqual([12, 14, 15, 16, 17, 18, 19, 22, 23]);
    expect(preview.first.at(-1)?.toMs).toBe(range.toMs);
    expect(await counts(backfillId)).toEqual({ skipped: 12, waiting: 3, submitted: 9 });
  });

  it("of a source that nobody knows runs everything", async () => {
    expect(await room.ledger.previewBackfill(1, rangeOf("unknown", 0, 48))).toMatchObject({
      total: 48,
      done: 0,
      open: 0,
    });
  });
});

describe("a window", () => {
  it("that an open live job is at waits, and is skipped when that succeeds", async () => {
    const live = await submitLive(windowOf("waiting", 0));
    const backfillId = await start(rangeOf("waiting", 0, 1));
    await step();
    expect(await counts(backfillId)).toEqual({ waiting: 1 });

    await end(live);
    await step();
    await step();
    expect(await counts(backfillId)).toEqual({ skipped: 1 });
    expect((await read(backfillId)).state).toBe(BackfillState.Finished);
  });

  it.each([
    [
      "is cancelled",
      async (jobId: string) =>
        void (await room.ledger.cancel({ jobId, tenantId: 1, reason: "", graceMs: 0 })),
    ],
    ["dies", (jobId: string) => end(jobId, lost)],
  ])("that a live job is at runs when that %s", async (how, endLive) => {
    const source = how.replace(" ", "-");
    const live = await submitLive(windowOf(source, 0));
    const backfillId = await start(rangeOf(source, 0, 1));
    await endLive(live);
    await step();
    expect(await counts(backfillId)).toEqual({ submitted: 1 });
  });

  it("is open to others from its submit on, before any hub has adopted it", async () => {
    await start(rangeOf("entered", 0, 2));
    await step();
    expect(await room.ledger.previewBackfill(1, rangeOf("entered", 0, 2))).toMatchObject({ open: 2 });
  });

  it("whose job died is shown as failed, and done once the dead letter was retried and succeeded", async () => {
    const backfillId = await start(rangeOf("dying", 0, 1));
    await step();
    const [jobId] = await adopted("dying");
    await end(jobId as string, lost);
    expect(await counts(backfillId)).toEqual({ failed: 1 });
    expect(await watermark("dying")).toMatchObject({ failed: 1, watermarkMs: beginMs });
    await step();
    expect((await read(backfillId)).state).toBe(BackfillState.Finished);

    await room.ledger.revive({ jobId: jobId as string, ...operator });
    expect(await counts(backfillId)).toEqual({ submitted: 1 });
    await end(jobId as string);
    expect(await counts(backfillId)).toEqual({ done: 1 });
    expect(await watermark("dying")).toMatchObject({ failed: 0, watermarkMs: beginMs + hourMs });
  });

  it("whose entry an operator discards is cancelled, and others may have it", async () => {
    const backfillId = await start(rangeOf("discarded", 0, 1));
    await step();
    const [window] = await windows(backfillId);
    const jobId = window?.jobId as string;
    const refusal = { reason: "PAYLOAD_TOO_LARGE", message: "too large", metadata: {} };
    await room.ledger.settleInbox([], [{ jobId, refusal }]);
    expect(await room.ledger.discardInboxEntry(operator, jobId)).toMatchObject({ jobId });
    expect(await counts(backfillId)).toEqual({ cancelled: 1 });
    expect(await room.ledger.previewBackfill(1, rangeOf("discarded", 0, 1))).toMatchObject({
      open: 0,
      done: 0,
    });
  });

  it("carries the template, its window and a key that makes it once", async () => {
    const backfillId = await start(rangeOf("carrying", 5, 6));
    await step();
    const [jobId] = await adopted("carrying");
    expect(await room.ledger.readJob(1, jobId as string)).toMatchObject({
      kind: "greet",
      priority: 1,
      payload: Buffer.from("again"),
      options: {
        idempotencyKey: `backfill/${backfillId}/2026-03-01T05:00:00.000Z`,
        labels: {
          backfill: backfillId,
          window_source: "carrying",
          window_from: "2026-03-01T05:00:00.000Z",
          window_to: "2026-03-01T06:00:00.000Z",
        },
        window: { source: "carrying", fromMs: beginMs + 5 * hourMs, toMs: beginMs + 6 * hourMs, backfillId },
      },
    });
  });
});

describe("the pace", () => {
  it("keeps no more windows open than it may, and goes on as they end", async () => {
    const backfillId = await start(rangeOf("bounded", 0, 10), 3);
    await step();
    await step();
    expect(await counts(backfillId)).toEqual({ submitted: 3, waiting: 7 });
    const [jobId] = await adopted("bounded");
    await end(jobId as string);
    await step();
    expect(await counts(backfillId)).toEqual({ submitted: 3, waiting: 6, done: 1 });
  });

  it("submits no more per minute than it may, whichever hubs look", async () => {
    const backfillId = await start(rangeOf("paced", 0, 10), 100, 1);
    const other = await room.openLedger();
    for (let looks = 0; looks < 5; looks += 1) await Promise.all([step(), step(other)]);
    expect(await counts(backfillId)).toEqual({ submitted: 1, waiting: 9 });
    await room.sql("update backfill set next_submit_at = now() - interval '1 hour' where backfill_id = $1", [
      backfillId,
    ]);
    await step();
    expect(await counts(backfillId)).toEqual({ submitted: 2, waiting: 8 });
  });
});

describe("a backfill", () => {
  it("that is paused submits nothing from the answer on, and goes on when it is resumed", async () => {
    const backfillId = await start(rangeOf("paused", 0, 4));
    const [seen] = (await room.ledger.readActiveBackfills(firstUuid, 100)).filter(
      (one) => one.backfillId === backfillId,
    );
    expect(await room.ledger.changeBackfill(operator, backfillId, { type: "pause" })).toBe(true);
    if (seen) await room.ledger.submitWindows(seen);
    await step();
    expect(await counts(backfillId)).toEqual({ waiting: 4 });

    await room.ledger.changeBackfill(operator, backfillId, { type: "resume" });
    await step();
    expect(await counts(backfillId)).toEqual({ submitted: 4 });
  });

  it("that is cancelled leaves done and open windows alone unless told to, and cannot be changed again", async () => {
    const backfillId = await start(rangeOf("cancelled", 0, 4), 2);
    await step();
    const [first] = await adopted("cancelled");
    await end(first as string);
    expect(await room.ledger.changeBackfill(operator, backfillId, { type: "cancel", graceMs: null })).toBe(
      true,
    );
    await step();
    expect(await counts(backfillId)).toEqual({ done: 1, submitted: 1, cancelled: 2 });
    expect(await room.ledger.changeBackfill(operator, backfillId, { type: "resume" })).toBe(false);
  });

  it("that is cancelled with its open jobs takes back those that are no jobs yet, and names the others", async () => {
    const backfillId = await start(rangeOf("stopped", 0, 4), 2);
    await step();
    const [first, second] = await adopted("stopped");
    await end(first as string);
    await step();
    await room.ledger.changeBackfill(operator, backfillId, { type: "cancel", graceMs: 0 });

    const open = await room.ledger.stopWindows(backfillId);
    expect(open).toEqual([second]);
    expect(await room.ledger.finishBackfill(backfillId)).toBe(false);
    await room.ledger.cancel({ jobId: second as string, tenantId: 1, reason: "", graceMs: 0 });
    expect(await room.ledger.finishBackfill(backfillId)).toBe(true);

    expect(await counts(backfillId)).toEqual({ done: 1, cancelled: 3 });
    expect((await read(backfillId)).state).toBe(BackfillState.Cancelled);
    expect(await adopted("stopped")).toEqual([]);
  });

  it("is kept as an operation with reason and ticket, whatever is done to it", async () => {
    const backfillId = await start(rangeOf("audited", 0, 4));
    await room.ledger.changeBackfill(operator, backfillId, { type: "pause" });
    await room.ledger.changeBackfill({ ...operator, ticket: "T-2" }, backfillId, {
      type: "cancel",
      graceMs: 5,
    });
    const kept = await room.ledger.listOperations(
      1,
      `backfill:${backfillId}`,
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      10,
    );
    expect(kept).toMatchObject([
      {
        action: "backfill.cancel",
        ticket: "T-2",
        before: { state: 2 },
        after: { state: 3, cancelGraceMs: 5 },
      },
      { action: "backfill.pause", before: { state: 1 }, after: { state: 2 } },
      {
        action: "backfill.start",
        subject: "ops",
        reason: "hole of March",
        ticket: "T-1",
        after: { windows: 4 },
      },
    ]);
  });

  it("of another tenant is not there", async () => {
    const backfillId = await start(rangeOf("foreign", 0, 1));
    expect(await room.ledger.readBackfills(2, backfillId, "", 1)).toEqual([]);
    expect(
      await room.ledger.changeBackfill({ ...operator, tenantId: 2 }, backfillId, { type: "pause" }),
    ).toBe(false);
    expect(await room.ledger.readWatermarks(2, "foreign", "", 1)).toEqual([]);
  });
});

describe("a watermark", () => {
  it("is the end of what is done without a gap since the first window, and never goes back", async () => {
    const jobs = await submitMany(room, 0);
    for (const hour of [10, 11, 12, 13]) jobs.push(await submitLive(windowOf("marked", hour)));
    await end(jobs[1] as string);
    await end(jobs[3] as string);
    expect(await watermark("marked")).toMatchObject({
      originMs: beginMs + 10 * hourMs,
      watermarkMs: beginMs + 10 * hourMs,
      doneThroughMs: beginMs + 14 * hourMs,
      open: 2,
    });

    await end(jobs[0] as string);
    expect((await watermark("marked"))?.watermarkMs).toBe(beginMs + 12 * hourMs);
    await end(jobs[2] as string);
    expect((await watermark("marked"))?.watermarkMs).toBe(beginMs + 14 * hourMs);

    await end(await submitLive(windowOf("marked", 0)));
    expect(await watermark("marked")).toMatchObject({ watermarkMs: beginMs + 14 * hourMs, done: [{}, {}] });
  });

  it("is the same before, while and after windows are folded in", async () => {
    for (const hour of [0, 1, 2, 5]) await end(await submitLive(windowOf("folded", hour)));
    const before = await watermark("folded");
    const other = await room.openLedger();
    const seen = await Promise.all([
      room.ledger.foldWindows(),
      watermark("folded"),
      other.foldWindows(),
      watermark("folded"),
    ]);
    await room.ledger.foldWindows();

    expect([seen[1], seen[3], await watermark("folded")]).toEqual([before, before, before]);
    expect(await room.sql("select from event_window where source = 'folded'")).toEqual([]);
    expect(await room.ledger.previewBackfill(1, rangeOf("folded", 0, 6))).toMatchObject({ done: 4 });
  });

  it("does not move for a job that is cancelled, retried or dies", async () => {
    const [cancelled, died] = [
      await submitLive(windowOf("still", 0)),
      await submitLive(windowOf("still", 1)),
    ];
    await room.ledger.cancel({ jobId: cancelled, tenantId: 1, reason: "", graceMs: 0 });
    await end(died, lost);
    expect(await watermark("still")).toMatchObject({
      watermarkMs: beginMs,
      open: 0,
      failed: 1,
      doneThroughMs: null,
    });
  });
});
