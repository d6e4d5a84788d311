import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Backfill,
  BackfillService,
  BackfillState,
  type StartRequestSchema,
  WindowState,
} from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { DeadLetterService } from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { JobState, Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const { preview, start, get, list, listWindows, pause, resume, cancel, getWatermark, listWatermarks } =
  BackfillService.method;
const under = useHub();
const justification = { reason: "the hole of March", ticket: "OPS-17" };
const hourMs = 3_600_000;
const beginMs = Date.parse("2026-03-01T00:00:00Z");

const hour = (at: number) => timestampFromMs(beginMs + at * hourMs);
const rangeOf = (source: string, hours: number) => ({
  source,
  from: hour(0),
  to: hour(hours),
  step: duration(hourMs),
});

async function startBackfill(
  source: string,
  hours: number,
  more: MessageInitShape<typeof StartRequestSchema> = {},
): Promise<string> {
  const request = { range: rangeOf(source, hours), job: { kind: source }, justification, ...more };
  const { backfill } = await under
    .client()
    .call(start, request as MessageInitShape<typeof StartRequestSchema>);
  return backfill?.backfillId as string;
}

const read = async (backfillId: string) =>
  (await under.client().call(get, { backfillId })).backfill as Backfill;
const watermark = async (source: string) => (await under.client().call(getWatermark, { source })).watermark;

describe("a backfill", () => {
  it("runs each window once, skips what is done, leaves live work alone, and moves the watermark", async () => {
    const client = under.client();
    const worker = await attachWorker(client, { kinds: ["clicks"] });
    worker.credit(100);
    const window = (at: number) => ({ source: "clicks", from: hour(at), to: hour(at + 1) });
    await submitOne(client, { kind: "clicks", window: window(2) });
    await worker.succeed(await worker.lease());
    const live = await submitOne(client, { kind: "clicks", window: window(4) });
    const liveLease = await worker.lease();
    expect(await client.call(preview, { range: rangeOf("clicks", 6) })).toMatchObject({
      total: 6,
      done: 1,
      open: 1,
      toRun: 4,
      first: [{}, {}, {}, {}],
    });

    const backfillId = await startBackfill("clicks", 6);
    const froms: string[] = [];
    for (let n = 0; n < 4; n += 1) {
      const lease = await worker.lease();
      froms.push(lease.labels.window_from as string);
      expect(lease.labels).toMatchObject({ backfill: backfillId, window_source: "clicks" });
      await worker.succeed(lease);
    }
    expect(froms.sort()).toEqual([0, 1, 3, 5].map((at) => new Date(beginMs + at * hourMs).toISOString()));
    expect(await read(backfillId)).toMatchObject({ windows: { done: 4, skipped: 1, waiting: 1 } });

    await worker.succeed(liveLease);
    await until(async () => (await read(backfillId)).state === BackfillState.FINISHED, "the backfill ends");
    expect(await read(backfillId)).toMatchObject({
      windows: { total: 6, done: 4, skipped: 2, submitted: 0 },
    });
    expect((await getJob(client, live)).window).toMatchObject(window(4));
    const found = await watermark("clicks");
    expect(found).toMatchObject({
      open: 0,
      failed: 0,
      origin: hour(2),
      watermark: hour(6),
      done: [{ from: hour(0), to: hour(6) }],
    });
    expect((await client.call(listWatermarks, {})).watermarks.map(({ source }) => source)).toContain(
      "clicks",
    );
  });

  it("keeps to its pace, submits nothing while it is paused, and goes on", async () => {
    const backfillId = await startBackfill("paced", 5, { inFlightMax: 2 });
    await until(async () => (await read(backfillId)).windows?.submitted === 2, "two windows are open");
    await under.client().call(pause, { backfillId, justification });
    const worker = await attachWorker(under.client(), { kinds: ["paced"] });
    worker.credit(10);
    for (let n = 0; n < 2; n += 1) await worker.succeed(await worker.lease());
    expect(await read(backfillId)).toMatchObject({
      state: BackfillState.PAUSED,
      windows: { done: 2, waiting: 3, submitted: 0 },
    });

    await under.client().call(resume, { backfillId, justification });
    for (let n = 0; n < 3; n += 1) await worker.succeed(await worker.lease());
    await until(async () => (await read(backfillId)).state === BackfillState.FINISHED, "the backfill ends");
  });

  it("shows a window whose job died, and closes it when the dead letter is retried", async () => {
    const client = under.client();
    const worker = await attachWorker(client, { kinds: ["dying"] });
    worker.credit(10);
    const backfillId = await startBackfill("dying", 1);
    const lease = await worker.lease();
    expect((await getJob(client, lease.jobId)).priority).toBe(Priority.LOW);
    await worker.report(lease, failure("BOOM", { permanent: true }));
    const failedWindows = await client.call(listWindows, { backfillId, state: WindowState.FAILED });
    expect(failedWindows.windows).toMatchObject([{ jobId: lease.jobId, from: hour(0), to: hour(1) }]);
    expect(await watermark("dying")).toMatchObject({ failed: 1 });

    await client.call(DeadLetterService.method.retry, {
      target: { case: "jobs", value: { jobIds: [lease.jobId] } },
    });
    await worker.succeed(await worker.lease());
    expect((await read(backfillId)).windows).toMatchObject({ failed: 0, done: 1 });
  });

  it("that is cancelled with its open jobs stops them, and keeps what is done", async () => {
    const client = under.client();
    const worker = await attachWorker(client, { kinds: ["stopped"] });
    worker.credit(1);
    const backfillId = await startBackfill("stopped", 6, { inFlightMax: 3 });
    await worker.succeed(await worker.lease());
    const answer = await client.call(cancel, { backfillId, cancelOpen: true, justification });
    expect(answer.backfill?.state).toBe(BackfillState.CANCELLED);

    await until(async () => (await read(backfillId)).windows?.submitted === 0, "its open jobs are cancelled");
    expect(await read(backfillId)).toMatchObject({ windows: { total: 6, done: 1, cancelled: 5 } });
    expect((await client.refused(resume, { backfillId, justification })).reason).toBe("BACKFILL_ENDED");
    const jobs = await client.call(JobService.method.list, { kind: "stopped" });
    for (const job of jobs.jobs) expect([JobState.SUCCEEDED, JobState.CANCELLED]).toContain(job.state);
  });

  it("gives its jobs what they expect to spend and what they share, and shows it", async () => {
    const job = {
      kind: "spending",
      estimate: { tokens: 5n },
      inFlight: { key: "press", max: 3 },
      source: "api",
    };
    const backfillId = await startBackfill("spending", 1, { job } as never);
    expect((await read(backfillId)).job).toMatchObject(job);
    await until(async () => {
      const [submitted] = (await under.client().call(listWindows, { backfillId })).windows;
      const found = await under.query("select from job where id = $1", [submitted?.jobId || null]);
      return found.length === 1;
    }, "its job is there");
    const { windows } = await under.client().call(listWindows, { backfillId });
    expect(await getJob(under.client(), windows[0]?.jobId as string)).toMatchObject(job);
  });

  it("lists its windows in order of time, page by page", async () => {
    const backfillId = await startBackfill("listed", 5, { inFlightMax: 1 });
    const froms: number[] = [];
    let pageToken = "";
    do {
      const page = await under.client().call(listWindows, { backfillId, pageSize: 2, pageToken });
      froms.push(...page.windows.map(({ from }) => timestampMs(from as never)));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(froms).toEqual([0, 1, 2, 3, 4].map((at) => beginMs + at * hourMs));
    const newest = await under.client().call(list, { pageSize: 1 });
    expect(newest.backfills[0]?.backfillId).toBe(backfillId);
  });

  it("needs a reason and a ticket for every change, and keeps both", async () => {
    const client = under.client();
    const ask = { range: rangeOf("audited", 1), job: { kind: "audited" } };
    for (const part of [{}, { reason: "x" }, { ticket: "T" }])
      expect((await client.refused(start, { ...ask, justification: part })).reason).toBe(
        "AUDIT_FIELDS_MISSING",
      );
    const backfillId = await startBackfill("audited", 1);
    for (const method of [pause, resume, cancel] as (typeof pause)[]) {
      const reason = { justification: { reason: "x" } };
      expect((await client.refused(method, { backfillId, ...reason })).reason).toBe("AUDIT_FIELDS_MISSING");
      await client.call(method, { backfillId, justification });
    }
    const { operations } = await client.call(OperationService.method.list, {
      target: `backfill:${backfillId}`,
    });
    expect(operations).toMatchObject([
      { action: "backfill.cancel", justification },
      { action: "backfill.resume", justification },
      { action: "backfill.pause", justification },
      { action: "backfill.start", justification },
    ]);
  });
});
