import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { noFairness } from "../../src/domain/job-spec.js";
import type { Outcome } from "../../src/domain/outcome.js";
import {
  CatchUpPolicy,
  decideFiring,
  OverlapPolicy,
  type ScheduleSpec,
  type ScheduleView,
  scheduledJob,
} from "../../src/domain/schedule.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { adoptAll } from "../harness/inbox-acts.js";
import { done, failed, reportItem, submitOne } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const desk = await openLedgerDesk();
const { room } = desk;
const operator = { tenantId: 1, subject: "ops", reason: "for a test", ticket: "" };
const minuteMs = 60_000;

function spec(overrides: Partial<ScheduleSpec> = {}): ScheduleSpec {
  return {
    cadence: { type: "interval", everyMs: minuteMs, anchorMs: 0 },
    job: {
      kind: "greet",
      product: "default",
      queue: "default",
      priority: 2,
      capabilities: [],
      source: "",
      fairness: noFairness,
      contentType: "text/plain",
      options: { labels: { team: "press" } },
    },
    overlap: OverlapPolicy.Allow,
    replaceGraceMs: 0,
    catchUp: CatchUpPolicy.All,
    catchUpWindowMs: 86_400_000,
    jitterMs: 0,
    startsAtMs: null,
    endsAtMs: null,
    eventSource: "",
    ...overrides,
  };
}

/** A schedule of which so many times have passed, the last of them ten seconds ago. */
async function overdue(name: string, times: number, overrides: Partial<ScheduleSpec> = {}): Promise<string> {
  const scheduleId = uuidv7();
  const { nowMs } = await room.ledger.readSchedule(1, name);
  const newestMs = Math.floor(nowMs) - 10_000;
  const cadence = { type: "interval", everyMs: minuteMs, anchorMs: newestMs } as const;
  const atMs = newestMs - (times - 1) * minuteMs;
  const next = { atMs, priorMs: atMs - minuteMs };
  const payload = Buffer.from("hello");
  await room.ledger.createSchedule(operator, {
    scheduleId,
    name,
    spec: spec({ cadence, ...overrides }),
    payload,
    next,
  });
  return scheduleId;
}

/** Looks and fires as a hub does, but is killed when told so: before it writes, or after. */
async function look(ledger: Ledger, killed: "never" | "before writing" = "never"): Promise<number> {
  const { schedules, nowMs } = await ledger.readDueSchedules(100);
  let fired = 0;
  for (const schedule of schedules) {
    const firing = decideFiring(schedule.spec, schedule, nowMs);
    const jobs = firing.fire.map((due) => ({
      ...scheduledJob(schedule, due, false),
      jobId: uuidv7(),
      atMs: due.atMs,
    }));
    if (killed === "before writing") continue;
    if (await ledger.fireSchedule(schedule, firing, jobs, null)) fired += jobs.length;
  }
  return fired;
}

const jobsOf = (name: string) =>
  room.sql<{ id: string; at: string; state: number }>(
    `select id, state, options #>> '{labels,scheduled_for}' as at from job
     where options #>> '{labels,schedule}' = $1 order by at`,
    [name],
  );
const read = async (name: string) => (await room.ledger.readSchedule(1, name)).schedule as ScheduleView;
const end = async (jobId: string, outcome: Outcome = done) => {
  const lease = await desk.claim(jobId);
  await room.ledger.report([reportItem(desk.sessionId, lease, outcome)]);
};

describe("a time of a schedule", () => {
  it("makes one job, however many hubs look at the same moment and are killed between looking and writing", async () => {
    await overdue("many-hubs", 200);
    const hubs = [room.ledger, await room.openLedger(), await room.openLedger()];
    let fired = 0;
    for (let rounds = 0; rounds < 12; rounds += 1) {
      await look(hubs[rounds % 3] as Ledger, "before writing");
      const counts = await Promise.all(hubs.map((hub) => look(hub)));
      fired += counts.reduce((sum, count) => sum + count, 0);
      await Promise.all([adoptAll(room, hubs[0]), adoptAll(room, hubs[1])]);
    }
    while ((await adoptAll(room)).length > 0);

    const jobs = await jobsOf("many-hubs");
    expect(jobs.length).toBe(fired);
    expect(jobs.length).toBeGreaterThanOrEqual(200);
    const gapsMs = jobs
      .slice(1)
      .map(({ at }, index) => Date.parse(at) - Date.parse(jobs[index]?.at as string));
    expect(new Set(gapsMs)).toEqual(new Set([minuteMs]));
    expect(await read("many-hubs")).toMatchObject({ fired, skipped: 0, missed: 0 });
  });

  it("carries the template, labels of its own, and a key that makes it once (D2)", async () => {
    const scheduleId = await overdue("carrying", 1, { eventSource: "press.clicks" });
    await look(room.ledger);
    await adoptAll(room);

    const [job] = await jobsOf("carrying");
    const view = await room.ledger.readJob(1, job?.id as string);
    expect(view).toMatchObject({
      kind: "greet",
      payload: Buffer.from("hello"),
      contentType: "text/plain",
      options: {
        idempotencyKey: `schedule/${scheduleId}/${job?.at}`,
        labels: { team: "press", schedule: "carrying", window_source: "press.clicks", window_to: job?.at },
        window: { source: "press.clicks", toMs: Date.parse(job?.at as string) },
      },
    });
    const keys = await room.ledger.findKeys(1, [`schedule/${scheduleId}/${job?.at}`]);
    expect(JSON.stringify([...keys])).toContain(job?.id);
  });

  it("that a hub decided on what no longer holds changes nothing", async () => {
    await overdue("stale", 1);
    const stood = await read("stale");
    expect(
      await room.ledger.changeSchedule(operator, stood, {
        action: "schedule.pause",
        isPaused: true,
        next: stood.next,
        waiting: null,
      }),
    ).toBe(true);
    const firing = decideFiring(stood.spec, stood, Date.now());

    expect(await room.ledger.fireSchedule(stood, firing, [], null)).toBe(false);
    expect(await look(room.ledger)).toBe(0);
    expect(await read("stale")).toMatchObject({ fired: 0, pauseReason: "for a test" });
  });
});

describe("a time that comes while the newest job is open", () => {
  /** A schedule whose newest job is open, and of which another time has come. */
  async function overlapping(name: string, overlap: OverlapPolicy): Promise<string> {
    await overdue(name, 1, { overlap });
    await look(room.ledger);
    await adoptAll(room);
    await room.sql(
      "update schedule set next_at = next_at - interval '1 minute', prior_at = prior_at - interval '1 minute' where name = $1",
      [name],
    );
    // What the time before was: its key is used, so it has to be another.
    await room.sql("update schedule set next_at = next_at + interval '1 second' where name = $1", [name]);
    return (await jobsOf(name))[0]?.id as string;
  }

  it("is let pass by skip, while the job waits in the inbox already", async () => {
    await overdue("in-inbox", 1, { overlap: OverlapPolicy.Skip });
    await look(room.ledger);
    await room.sql("update schedule set next_at = last_at + interval '1 second' where name = 'in-inbox'");
    await look(room.ledger);
    await adoptAll(room);

    expect(await jobsOf("in-inbox")).toHaveLength(1);
    expect(await read("in-inbox")).toMatchObject({ fired: 1, skipped: 1 });
  });

  it("makes a second job with allow", async () => {
    await overlapping("allow", OverlapPolicy.Allow);
    await look(room.ledger);
    await adoptAll(room);
    expect(await jobsOf("allow")).toHaveLength(2);
  });

  it("waits with queue-one until the job has ended, well or not", async () => {
    const jobId = await overlapping("queue", OverlapPolicy.QueueOne);
    await look(room.ledger);
    await look(room.ledger);
    await adoptAll(room);
    expect(await jobsOf("queue")).toHaveLength(1);
    expect((await read("queue")).waiting).not.toBeNull();

    await end(jobId, { ...failed, permanent: true } as Outcome);
    await look(room.ledger);
    await look(room.ledger);
    await adoptAll(room);
    expect(await jobsOf("queue")).toHaveLength(2);
    expect((await read("queue")).waiting).toBeNull();
  });

  it("waits with replace, and is looked at until the job that it replaces is being cancelled", async () => {
    const jobId = await overlapping("replace", OverlapPolicy.Replace);
    await look(room.ledger);
    const { schedules } = await room.ledger.readDueSchedules(100);
    expect(schedules.filter(({ name }) => name === "replace")).toMatchObject([
      { lastJobId: jobId, isOpen: true, isCancelling: false },
    ]);

    await room.ledger.cancel({ jobId, tenantId: 1, reason: "replaced", graceMs: 0 });
    await look(room.ledger);
    await adoptAll(room);
    expect(await jobsOf("replace")).toMatchObject([{ state: 8 }, { state: 3 }]);
  });
});

it("what operators do is kept with their reason, before and after", async () => {
  await overdue("kept", 1);
  const stood = await read("kept");
  await room.ledger.changeSchedule(operator, stood, {
    action: "schedule.set",
    spec: spec({ jitterMs: 5 }),
    isPaused: false,
    next: null,
    waiting: null,
  });
  await room.ledger.deleteSchedule({ ...operator, reason: "no longer needed" }, "kept");

  const operations = await room.ledger.listOperations(
    1,
    "schedule:kept",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    10,
  );
  expect(operations).toMatchObject([
    { action: "schedule.delete", reason: "no longer needed", before: { spec: { jitterMs: 5 } }, after: null },
    {
      action: "schedule.set",
      subject: "ops",
      before: { spec: { jitterMs: 0 } },
      after: { spec: { jitterMs: 5 } },
    },
    { action: "schedule.set", before: null },
  ]);
});

it("other tenants see nothing of it", async () => {
  await overdue("mine", 1);
  expect((await room.ledger.readSchedule(2, "mine")).schedule).toBeNull();
  expect(await room.ledger.listSchedules(2, "", 10)).toEqual([]);
  expect(await room.ledger.deleteSchedule({ ...operator, tenantId: 2 }, "mine")).toBe(false);
  expect(await submitOne(room)).toBeTruthy();
});
