import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { RevokeReason, Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, inMs, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const house = useHub();

async function leased(kind: string, job: Parameters<typeof submitOne>[1] = {}) {
  const client = house.client();
  const jobId = await submitOne(client, { ...job, kind });
  const worker = await attachWorker(client, { kinds: [kind] });
  worker.credit(1);
  return { client, jobId, worker, lease: await worker.lease() };
}

const typesOf = async (jobId: string) => {
  const { history } = await house.client().call(JobService.method.get, { jobId, includeHistory: true });
  return history.map((event) => event.type);
};

test("a cancel without grace ends the job at once: its worker is revoked, its report STALE (D4)", async () => {
  const { client, jobId, worker, lease } = await leased("at-once");
  const { job } = await client.call(JobService.method.cancel, { jobId, reason: "not wanted" });
  expect(job).toMatchObject({ state: JobState.CANCELLED, sessionId: "" });
  expect(job?.fencingToken).toBeGreaterThan(lease.fencingToken);
  expect((await worker.stream.next("revoke")).leases).toMatchObject([
    {
      jobId,
      fencingToken: lease.fencingToken,
      reason: RevokeReason.CANCELLED,
      grace: { seconds: 0n, nanos: 0 },
      message: "not wanted",
    },
  ]);
  expect((await worker.succeed(lease)).verdict).toBe(Verdict.STALE);
  expect((await client.call(JobService.method.cancel, { jobId })).job?.state).toBe(JobState.CANCELLED);
  expect(await typesOf(jobId)).toEqual([JobEventType.SUBMITTED, JobEventType.LEASED, JobEventType.CANCELLED]);
});

test("with grace the worker may acknowledge the cancel, and the job is CANCELLED then", async () => {
  const { client, jobId, worker, lease } = await leased("with-grace");
  const { job } = await client.call(JobService.method.cancel, { jobId, grace: duration(5_000) });
  expect(job?.state).toBe(JobState.LEASED);
  expect((await worker.stream.next("revoke")).leases).toMatchObject([{ jobId, grace: { seconds: 5n } }]);
  const cancelled = { case: "cancelled", value: { reason: "stopped cleanly" } } as const;
  expect(await worker.report(lease, cancelled)).toMatchObject({
    verdict: Verdict.COMMITTED,
    state: JobState.CANCELLED,
  });
  expect(await typesOf(jobId)).toEqual([
    JobEventType.SUBMITTED,
    JobEventType.LEASED,
    JobEventType.CANCEL_REQUESTED,
    JobEventType.CANCELLED,
  ]);
});

test("with grace the worker may also finish: what it reached counts", async () => {
  const { client, jobId, worker, lease } = await leased("finished");
  await client.call(JobService.method.cancel, { jobId, grace: duration(5_000) });
  expect(await worker.succeed(lease)).toMatchObject({
    verdict: Verdict.COMMITTED,
    state: JobState.SUCCEEDED,
  });
  expect(await client.refused(JobService.method.cancel, { jobId })).toMatchObject({
    code: 9,
    reason: "ALREADY_TERMINAL",
  });
});

test("a failure during the grace is not retried: the job is CANCELLED", async () => {
  const { client, jobId, worker, lease } = await leased("failing");
  await client.call(JobService.method.cancel, { jobId, grace: duration(5_000) });
  expect(await worker.report(lease, failure("INTERRUPTED"))).toMatchObject({ state: JobState.CANCELLED });
});

test("when the grace is over the token moves on, whatever the worker does (D4)", async () => {
  const { client, jobId, worker, lease } = await leased("grace-over");
  await client.call(JobService.method.cancel, { jobId, grace: duration(200) });
  expect((await worker.stream.next("revoke")).leases).toMatchObject([{ grace: { nanos: 200_000_000 } }]);
  expect((await worker.stream.next("revoke")).leases).toMatchObject([{ jobId, grace: { nanos: 0 } }]);
  expect((await getJob(client, jobId)).state).toBe(JobState.CANCELLED);
  expect((await worker.succeed(lease)).verdict).toBe(Verdict.STALE);
});

test("a ready and a scheduled job are cancelled where they wait, and never leased", async () => {
  const client = house.client();
  const ready = await submitOne(client, { kind: "waiting" });
  const scheduled = await submitOne(client, { kind: "waiting", runAt: inMs(300) });
  for (const jobId of [ready, scheduled])
    expect((await client.call(JobService.method.cancel, { jobId, grace: duration(9_000) })).job?.state).toBe(
      JobState.CANCELLED,
    );
  const worker = await attachWorker(client, { kinds: ["waiting"] });
  worker.credit(5);
  const next = await submitOne(client, { kind: "waiting", runAt: inMs(400) });
  expect((await worker.lease()).jobId).toBe(next);
});

test("a failure is retried after its backoff, under a higher token, until the attempts are used up; then it is a dead letter (D8)", async () => {
  const retry = { maxAttempts: 3, initialBackoff: duration(200), factor: 2, maxBackoff: duration(10_000) };
  const { client, jobId, worker, lease } = await leased("retried", { retry });
  let last = lease;
  for (const [attempt, backoffMs] of [
    [2, 200],
    [3, 400],
  ] as const) {
    worker.credit(1);
    const failedAt = Date.now();
    expect(await worker.report(last, failure("FLAKY"))).toMatchObject({
      verdict: Verdict.COMMITTED,
      state: JobState.SCHEDULED,
    });
    const again = await worker.lease();
    expect(Date.now() - failedAt).toBeGreaterThanOrEqual(backoffMs / 2);
    expect(again).toMatchObject({ jobId, attempt });
    expect(again.fencingToken).toBeGreaterThan(last.fencingToken);
    last = again;
  }
  expect(await worker.report(last, failure("FLAKY"))).toMatchObject({ state: JobState.DEAD });
  const job = await getJob(client, jobId);
  expect(job).toMatchObject({ state: JobState.DEAD, attempt: 3 });
  expect(job.outcome?.outcome).toMatchObject({ case: "failure", value: { code: "FLAKY" } });
});

test("retry_after holds the next attempt back beyond the backoff (D8)", async () => {
  const { worker, lease } = await leased("held-back", { retry: { initialBackoff: duration(1) } });
  worker.credit(1);
  const failedAt = Date.now();
  await worker.report(lease, failure("HTTP_429", { retryAfterMs: 600 }));
  await worker.lease();
  expect(Date.now() - failedAt).toBeGreaterThanOrEqual(590);
});

test("a permanent failure is a dead letter at once; an operator's retry gives it a new token and fresh attempts (D8)", async () => {
  const { client, jobId, worker, lease } = await leased("permanent", { retry: { maxAttempts: 1 } });
  expect(await client.refused(JobService.method.retry, { jobId })).toMatchObject({
    code: 9,
    reason: "NOT_DEAD",
  });
  expect(await worker.report(lease, failure("BROKEN", { permanent: true }))).toMatchObject({
    state: JobState.DEAD,
  });
  const { job } = await client.call(JobService.method.retry, { jobId, reason: "repaired" });
  expect(job).toMatchObject({ state: JobState.READY, attempt: 0 });
  expect(job?.fencingToken).toBeGreaterThan(lease.fencingToken);
  expect((await worker.succeed(lease)).verdict).toBe(Verdict.STALE);
  worker.credit(1);
  const again = await worker.lease();
  expect(again).toMatchObject({ jobId, attempt: 1 });
  expect((await worker.succeed(again)).state).toBe(JobState.SUCCEEDED);
  expect(await typesOf(jobId)).toContain(JobEventType.REVIVED);
});

test("a job that passes its deadline is dead-lettered, waiting or running; its worker is revoked, its report STALE (D4, D8)", async () => {
  const client = house.client();
  const waiting = await submitOne(client, { kind: "nobody", deadline: inMs(300) });
  const { jobId, worker, lease } = await leased("too-long", { deadline: inMs(500) });
  expect(lease.deadline).toBeDefined();
  expect((await worker.stream.next("revoke")).leases).toMatchObject([
    { jobId, reason: RevokeReason.DEADLINE },
  ]);
  expect((await worker.succeed(lease)).verdict).toBe(Verdict.STALE);
  await until(
    async () => (await getJob(client, waiting)).state === JobState.DEAD,
    "the end of the waiting job",
  );
  for (const id of [waiting, jobId])
    expect((await getJob(client, id)).outcome?.outcome).toMatchObject({
      case: "failure",
      value: { code: "DEADLINE_EXCEEDED" },
    });
});

test("a job with run_at is leased at that time, not before (D8)", async () => {
  const client = house.client();
  const worker = await attachWorker(client, { kinds: ["timed"] });
  worker.credit(1);
  const runAt = inMs(700);
  const dueAtMs = Number(runAt.seconds) * 1_000 + runAt.nanos / 1e6;
  const jobId = await submitOne(client, { kind: "timed", runAt });
  expect((await getJob(client, jobId)).state).toBe(JobState.SCHEDULED);
  expect((await worker.lease()).jobId).toBe(jobId);
  expect(Date.now()).toBeGreaterThanOrEqual(dueAtMs - 5);
});

test("a released lease is ready again at once; the attempt counts only when its handler had started (D6)", async () => {
  const { jobId, worker, lease } = await leased("released");
  const release = (fencingToken: bigint, started: boolean) => {
    worker.credit(1);
    const leases = [{ jobId, fencingToken, started }];
    worker.stream.send({ case: "release", value: { leases } }, worker.delivered());
    return worker.lease();
  };
  const second = await release(lease.fencingToken, false);
  expect(second).toMatchObject({ jobId, attempt: 1 });
  expect(await release(second.fencingToken, true)).toMatchObject({ jobId, attempt: 2 });
});
