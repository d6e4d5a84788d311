import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import {
  CatchUpPolicy,
  OverlapPolicy,
  type Schedule,
  ScheduleService,
  type ScheduleSpecSchema,
} from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, inMs } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

const { set, get, list, pause, resume, delete: remove, trigger, previewTimes } = ScheduleService.method;
const under = useHub();
const justification = { reason: "for a test" };

const hourly = { cadence: { case: "interval", value: { every: duration(3_600_000) } } } as const;
const everySecond = { cadence: { case: "interval", value: { every: duration(1_000) } } } as const;

async function setSchedule(
  name: string,
  spec: Partial<MessageInitShape<typeof ScheduleSpecSchema>> = {},
): Promise<Schedule> {
  const whole = { cadence: hourly, job: { kind: name }, ...spec } as MessageInitShape<
    typeof ScheduleSpecSchema
  >;
  const { schedule } = await under.client().call(set, { name, spec: whole, justification });
  return schedule as Schedule;
}

const read = async (name: string) => (await under.client().call(get, { name })).schedule as Schedule;
const jobsOf = (name: string) =>
  under.query<{ id: string; state: number; at: string }>(
    "select id, state, options #>> '{labels,scheduled_for}' as at from job where options #>> '{labels,schedule}' = $1 order by 3",
    [name],
  );

/** Its next time is now: hubs find it overdue. */
const overdue = (name: string) =>
  under.query("update schedule set next_at = now(), revision = revision + 1 where name = $1", [name]);

describe("a schedule", () => {
  it("fires while hubs run: one job per time, with its labels, on whichever hub", async () => {
    await under.startPeer();
    await setSchedule("ticking", {
      cadence: everySecond,
      overlap: OverlapPolicy.ALLOW,
      catchUp: CatchUpPolicy.ALL,
    });

    await until(async () => (await jobsOf("ticking")).length >= 3, "three times");
    await under.client().call(pause, { name: "ticking", justification });

    const { fired, lastJobId } = await read("ticking");
    await until(async () => (await jobsOf("ticking")).length === Number(fired), "every job is there");
    const times = (await jobsOf("ticking")).map(({ at }) => Date.parse(at));
    expect(times).toEqual(times.map((_, at) => (times[0] as number) + at * 1_000));
    expect((await getJob(under.client(), lastJobId)).labels).toMatchObject({ schedule: "ticking" });
  });

  it("that is set again keeps its times, and gives later jobs what is new", async () => {
    const first = await setSchedule("changed");
    const second = await setSchedule("changed", { job: { kind: "changed", labels: { a: "b" } } });
    expect(second).toMatchObject({
      scheduleId: first.scheduleId,
      nextAt: first.nextAt,
      spec: { job: { labels: { a: "b" } } },
    });
    const third = await setSchedule("changed", { cadence: everySecond, startsAt: inMs(3_600_000) });
    expect(timestampMs(third.nextAt as never)).toBeGreaterThan(Date.now() + 3_000_000);
  });

  it("reads back with its defaults filled in, and is listed by name without its payload", async () => {
    const cron = {
      cadence: { case: "cron", value: { expression: "30 2 * * *", zone: "Europe/Berlin" } },
    } as const;
    const made = await setSchedule("listed-a", {
      cadence: cron,
      job: { kind: "x", payload: Buffer.from("secret") },
    });
    await setSchedule("listed-b");
    const client = under.client();
    const first = await client.call(list, { pageSize: 1 });
    const names: string[] = [];
    let pageToken = "";
    do {
      const page = await client.call(list, { pageSize: 1, pageToken });
      names.push(...page.schedules.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");

    expect(first.schedules).toHaveLength(1);
    expect(names).toEqual([...names].sort());
    expect(names).toEqual(expect.arrayContaining(["listed-a", "listed-b"]));
    expect(made.spec).toMatchObject({
      cadence: { cadence: { case: "cron", value: { zone: "Europe/Berlin" } } },
      overlap: OverlapPolicy.SKIP,
      catchUp: CatchUpPolicy.SKIP,
      replaceGrace: { seconds: 30n },
      catchUpWindow: { seconds: 86_400n },
      job: { kind: "x", product: "default", payload: new Uint8Array() },
    });
  });

  it("that is paused fires nothing, shows why, and goes on with the next time from now", async () => {
    await setSchedule("resting");
    await under
      .client()
      .call(pause, { name: "resting", justification: { reason: "the press is being cleaned" } });
    await overdue("resting");
    expect(await read("resting")).toMatchObject({
      paused: true,
      pauseReason: "the press is being cleaned",
      fired: 0n,
    });
    expect((await read("resting")).nextAt).toBeUndefined();

    const { schedule } = await under.client().call(resume, { name: "resting", justification });
    expect(schedule).toMatchObject({ paused: false, missed: 0n, fired: 0n });
    expect(timestampMs(schedule?.nextAt as never)).toBeGreaterThan(Date.now() - 60_000);
  });

  it("that was removed fires no more; its jobs stay", async () => {
    await setSchedule("removed");
    const { jobId } = await under.client().call(trigger, { name: "removed", justification });
    await under.client().call(remove, { name: "removed", justification });
    await until(async () => (await jobsOf("removed")).length === 1, "the job is there");
    expect((await under.client().refused(get, { name: "removed" })).reason).toBe("SCHEDULE_NOT_FOUND");
    expect((await getJob(under.client(), jobId)).state).toBe(JobState.READY);
  });
});

describe("the overlap policy", () => {
  it("skip: no second job while the first is open, and one as soon as it has ended", async () => {
    const worker = await attachWorker(under.client(), { kinds: ["skipping"] });
    worker.credit(10);
    await setSchedule("skipping", { cadence: everySecond });
    const lease = await worker.lease();
    await until(async () => (await read("skipping")).skipped >= 2n, "times are skipped");
    expect(await jobsOf("skipping")).toHaveLength(1);

    await worker.succeed(lease);
    expect((await worker.lease()).jobId).not.toBe(lease.jobId);
    await under.client().call(pause, { name: "skipping", justification });
  });

  it("queue one: the waiting time starts when the job has ended", async () => {
    const worker = await attachWorker(under.client(), { kinds: ["queueing"] });
    worker.credit(10);
    await setSchedule("queueing", { cadence: everySecond, overlap: OverlapPolicy.QUEUE_ONE });
    const lease = await worker.lease();
    await until(async () => (await read("queueing")).waitingAt !== undefined, "a time waits");
    const { waitingAt } = await read("queueing");

    await worker.succeed(lease);
    const next = await worker.lease();
    expect(Date.parse(next.labels.scheduled_for as string)).toBe(timestampMs(waitingAt as never));
    await under.client().call(pause, { name: "queueing", justification });
  });

  it("replace: the running job is told to stop, and the newest time runs in its place", async () => {
    const worker = await attachWorker(under.client(), { kinds: ["replacing"] });
    worker.credit(10);
    await setSchedule("replacing", {
      cadence: everySecond,
      overlap: OverlapPolicy.REPLACE,
      replaceGrace: duration(60_000),
    });
    const lease = await worker.lease();
    const revoke = await worker.stream.next("revoke");
    expect(revoke.leases[0]?.jobId ?? lease.jobId).toBe(lease.jobId);
    await under.client().call(pause, { name: "replacing", justification });

    await worker.report(lease, { case: "cancelled", value: { reason: "asked to" } });
    expect((await getJob(under.client(), lease.jobId)).state).toBe(JobState.CANCELLED);
    await under.client().call(resume, { name: "replacing", justification });
    const next = await worker.lease();
    expect(Date.parse(next.labels.scheduled_for as string)).toBeGreaterThan(
      Date.parse(lease.labels.scheduled_for as string),
    );
    await under.client().call(pause, { name: "replacing", justification });
  });
});

describe("trigger", () => {
  it("makes a job at once, even of a paused schedule, and obeys the overlap policy", async () => {
    await setSchedule("triggered");
    await under.client().call(pause, { name: "triggered", justification });
    const first = await under.client().call(trigger, { name: "triggered", justification });
    const second = await under.client().call(trigger, { name: "triggered", justification });
    expect(first.jobId).not.toBe("");
    expect(second).toMatchObject({ jobId: "", waiting: false, schedule: { fired: 1n, skipped: 1n } });
    await until(async () => (await jobsOf("triggered")).length === 1, "the job is there");
  });
});

it("previews the times of any cadence, and of a schedule with its bounds", async () => {
  const client = under.client();
  const cron = {
    cadence: { case: "cron", value: { expression: "30 2 * * *", zone: "Europe/Berlin" } },
  } as const;
  const after = { seconds: BigInt(Date.parse("2026-03-28T12:00:00Z") / 1_000) };
  const { times } = await client.call(previewTimes, {
    target: { case: "cadence", value: cron },
    after,
    count: 2,
  });
  expect(times.map((time) => new Date(timestampMs(time)).toISOString())).toEqual([
    "2026-03-29T01:00:00.000Z",
    "2026-03-30T00:30:00.000Z",
  ]);
  await setSchedule("bounded", { endsAt: inMs(-1_000) });
  expect((await client.call(previewTimes, { target: { case: "name", value: "bounded" } })).times).toEqual([]);
});

it("what operators do needs a reason, and is kept with it", async () => {
  const client = under.client();
  const spec = { cadence: hourly, job: { kind: "audited" } };
  expect((await client.refused(set, { name: "audited", spec })).reason).toBe("AUDIT_FIELDS_MISSING");
  await setSchedule("audited");
  for (const method of [pause, resume, trigger, remove] as (typeof pause)[]) {
    expect((await client.refused(method, { name: "audited" })).reason).toBe("AUDIT_FIELDS_MISSING");
    await client.call(method, { name: "audited", justification });
  }
  const { operations } = await client.call(OperationService.method.list, { target: "schedule:audited" });
  expect(operations.map(({ action }) => action)).toEqual([
    "schedule.delete",
    "schedule.trigger",
    "schedule.resume",
    "schedule.pause",
    "schedule.set",
  ]);
});
