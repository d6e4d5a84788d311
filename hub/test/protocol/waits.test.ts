// Waits for signals as workers see them: on the stream and by calls, at one hub and at two.
import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import {
  FailurePolicy,
  JobEventType,
  JobNoteType,
  JobState,
  UniquePolicy,
} from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { WaitSchema, WaitVerdict } from "@holdfast/gen/holdfast/v1/wait_pb";
import { LostReason, WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { describe, expect, test } from "vitest";
import { openRawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, submitOne } from "../harness/raw-jobs.js";
import { openPublisher } from "../harness/raw-signals.js";
import { until } from "../harness/raw-wait.js";
import {
  attachWorker,
  failure,
  greeting,
  keyOf,
  type LeaseKey,
  type RawWorker,
} from "../harness/raw-worker.js";

const house = useHub();

type WaitInit = Omit<MessageInitShape<typeof WaitSchema>, "$typeName">;

let kinds = 0;
/** A job in the hands of a worker, of a kind of its own. */
async function leased(client = house.client()) {
  const kind = `waits-${++kinds}`;
  await submitOne(client, { kind });
  const worker = await attachWorker(client, { kinds: [kind] });
  worker.credit(1);
  return { client, worker, lease: await worker.lease(), kind };
}

const ownChannel = (jobId: string, name = "approval") => ({
  name,
  owner: { case: "jobId" as const, value: jobId },
});

async function wait(worker: RawWorker, lease: LeaseKey, more: WaitInit = {}): Promise<WaitVerdict["answer"]> {
  const { jobId, fencingToken } = lease;
  const requestId = more.requestId ?? randomUUID();
  const value = { jobId, fencingToken, channel: ownChannel(jobId), ...more, requestId };
  worker.stream.send({ case: "wait", value }, worker.delivered());
  return (await worker.stream.next("waitVerdict", (verdict) => verdict.requestId === requestId)).answer;
}

function payloadOf(answer: WaitVerdict["answer"]): string {
  if (answer.case !== "signal") throw new Error(`no signal: ${answer.case}`);
  expect(answer.value.page?.signals).toHaveLength(1);
  return Buffer.from(answer.value.page?.signals[0]?.payload ?? []).toString();
}

describe("on the lease stream", () => {
  test("a job waits without a lease, is ready once the signal is committed, and is told it (D11)", async () => {
    const { client, worker, lease } = await leased();
    const { jobId } = lease;

    expect(await wait(worker, lease)).toMatchObject({ case: "suspended" });
    const waiting = await getJob(client, jobId);
    expect(waiting).toMatchObject({
      state: JobState.PARKED,
      attempt: 0,
      sessionId: "",
      awaits: { owner: jobId, channel: "approval", after: 0n },
    });
    const publisher = await openPublisher(client, ownChannel(jobId));
    await publisher.publish(["yes", "no"]);
    worker.credit(1);
    const next = await worker.lease();

    expect(next).toMatchObject({ jobId, attempt: 1 });
    expect(next.fencingToken).toBeGreaterThan(lease.fencingToken);
    expect(payloadOf(await wait(worker, next))).toBe("yes");
    expect(payloadOf(await wait(worker, next, { after: 1n }))).toBe("no");
    await worker.succeed(next);
    const { history, notes } = await client.call(JobService.method.get, {
      jobId,
      includeHistory: true,
      includeNotes: true,
    });
    expect(history.map(({ type }) => type)).toEqual([
      JobEventType.SUBMITTED,
      JobEventType.LEASED,
      JobEventType.SUSPENDED,
      JobEventType.READY,
      JobEventType.LEASED,
      JobEventType.SUCCEEDED,
    ]);
    expect(history[3]?.reason).toBe("SIGNAL");
    expect(notes).toMatchObject([
      { type: JobNoteType.SIGNALS_PUBLISHED, name: "approval", number: 2n, signals: 2, producer: "producer" },
    ]);
    worker.vanish();
  });

  test("a wait that is over stays over, whatever is published afterwards", async () => {
    const { client, worker, lease } = await leased();
    expect(await wait(worker, lease, { timeout: duration(20) })).toMatchObject({ case: "suspended" });
    worker.credit(1);
    const next = await worker.lease();
    const publisher = await openPublisher(client, ownChannel(lease.jobId));
    await publisher.publish(["too late"]);

    expect(await wait(worker, next, { timeout: duration(60_000) })).toMatchObject({ case: "timedOut" });
    expect(await wait(worker, next)).toMatchObject({ case: "timedOut" });
    await publisher.publish(["in time"]);
    expect(payloadOf(await wait(worker, next, { after: 1n }))).toBe("in time");
    worker.vanish();
  });

  test("a verdict that was lost with its stream is known when the worker comes back, and the wait is answered again (D5)", async () => {
    const { client, worker, lease } = await leased();
    const requestId = randomUUID();
    await wait(worker, lease, { requestId });
    worker.vanish();
    const { sessionId } = worker.welcome;
    const again = await attachWorker(client, { sessionId, kinds: greeting.kinds, held: [keyOf(lease)] });

    expect(again.welcome.held).toMatchObject([{ kept: false, lostReason: LostReason.REPORTED }]);
    expect(await wait(again, lease, { requestId })).toMatchObject({ case: "suspended" });
    expect(await wait(again, lease, { after: 7n })).toMatchObject({
      case: "refused",
      value: { reason: "STALE_FENCE" },
    });
    again.vanish();
  });

  test("nothing may wait under a token that is not current, or while it is being cancelled (D4)", async () => {
    const { client, worker, lease } = await leased();
    expect(await wait(worker, { ...lease, fencingToken: 99n })).toMatchObject({
      case: "refused",
      value: { reason: "STALE_FENCE" },
    });
    await client.call(JobService.method.cancel, { jobId: lease.jobId, grace: duration(60_000) });
    expect(await wait(worker, lease)).toMatchObject({
      case: "refused",
      value: { reason: "CANCEL_REQUESTED" },
    });
    expect((await getJob(client, lease.jobId)).state).toBe(JobState.LEASED);
    worker.vanish();
  });

  test("what cannot be waited for is refused alone, and the lease stands", async () => {
    const { worker, lease } = await leased();
    const absent = "01980000-0000-7000-8000-000000000000";
    const refused: [WaitInit, string][] = [
      [{ channel: ownChannel(absent) }, "JOB_NOT_FOUND"],
      [{ channel: { name: "No Name" } }, "INVALID_FIELD"],
      [{ after: -1n }, "INVALID_FIELD"],
      [{ timeout: duration(0) }, "INVALID_FIELD"],
      [{ timeout: { seconds: 366n * 86_400n + 1n, nanos: 0 } }, "INVALID_FIELD"],
      [{ key: "k".repeat(257) }, "INVALID_FIELD"],
    ];
    for (const [init, reason] of refused)
      expect(await wait(worker, lease, init)).toMatchObject({ case: "refused", value: { reason } });
    expect(await worker.succeed(lease)).toMatchObject({ state: JobState.SUCCEEDED });
    worker.vanish();
  });

  test("signals that retention dropped are said to be missing (D15)", async () => {
    const { client, worker, lease } = await leased();
    const publisher = await openPublisher(client, ownChannel(lease.jobId));
    await publisher.publish(["old"]);
    await publisher.publish(["new"]);
    await house.query("select trim_signals(channel_id, 0::smallint, 1, true) from channel where owner = $1", [
      lease.jobId,
    ]);
    expect(await wait(worker, lease)).toMatchObject({
      case: "refused",
      value: { reason: "CURSOR_TOO_OLD", metadata: { first_sequence: "2" } },
    });
    expect(payloadOf(await wait(worker, lease, { after: 1n }))).toBe("new");
    worker.vanish();
  });
});

test("a job that waits at one hub is woken by a signal at another, and runs wherever there is a worker", async () => {
  const peer = await house.startPeer();
  const there = openRawClient(peer.grpcAddress, {});
  const { worker, lease, kind } = await leased();
  await wait(worker, lease);
  worker.vanish();
  const elsewhere = await attachWorker(there, { kinds: [kind] });
  elsewhere.credit(1);

  const publisher = await openPublisher(there, ownChannel(lease.jobId));
  await publisher.publish(["from there"]);

  const next = await elsewhere.lease();
  expect(next.jobId).toBe(lease.jobId);
  expect(payloadOf(await wait(elsewhere, next))).toBe("from there");
  await elsewhere.succeed(next);

  const second = await leased();
  await wait(second.worker, second.lease);
  second.worker.credit(1);
  const other = await openPublisher(there, ownChannel(second.lease.jobId));
  await other.publish(["over there"]);
  expect(payloadOf(await wait(second.worker, await second.worker.lease()))).toBe("over there");
  elsewhere.vanish();
  second.worker.vanish();
  there.close();
});

test("Explain and List tell of jobs that wait, and a cancel ends them at once", async () => {
  const { client, worker, lease, kind } = await leased();
  const { jobId } = lease;
  await wait(worker, lease, { after: 3n, timeout: duration(3_600_000) });

  const { reasons, grants } = await client.call(JobService.method.explain, { jobId });
  expect(reasons).toMatchObject([
    { cause: WaitCause.SIGNAL, message: expect.stringContaining("after 3 comes on its channel approval") },
  ]);
  expect(reasons[0]?.until).toBeDefined();
  expect(grants).toMatchObject([{ attempt: 1, end: JobEventType.SUSPENDED }]);
  const listed = await client.call(JobService.method.list, { states: [JobState.PARKED], kind });
  expect(listed.jobs.map(({ id }) => id)).toEqual([jobId]);
  await client.call(JobService.method.cancel, { jobId, grace: duration(60_000) });
  expect(await getJob(client, jobId)).toMatchObject({ state: JobState.CANCELLED });
  expect(await house.query("select from suspended where job_id = $1", [jobId])).toEqual([]);
  worker.vanish();
});

test("a job that waits has started: another does not take its unique key, and what it did is undone when it dies (D8)", async () => {
  const client = house.client();
  const unique = { key: "only-one", policy: UniquePolicy.REPLACE };
  const jobId = await submitOne(client, { kind: "unique", unique });
  const undone = await client.call(JobService.method.submit, {
    job: {
      kind: "undone",
      deadline: timestampFromMs(Date.now() + 3_000),
      compensation: { job: { kind: "undo" } },
    },
  });
  const worker = await attachWorker(client, { kinds: ["unique", "undone"] });
  worker.credit(2);
  for (const lease of [await worker.lease(), await worker.lease()])
    expect(await wait(worker, lease)).toMatchObject({ case: "suspended" });

  const again = await client.call(JobService.method.submit, { job: { kind: "unique", unique } });
  expect(again).toMatchObject({ jobId, existing: true, replacedJobId: "" });
  await until(async () => (await getJob(client, undone.jobId)).state === JobState.DEAD, "the deadline");
  const { jobs } = await client.call(JobService.method.list, { kind: "undo" });
  expect(jobs).toMatchObject([{ state: JobState.READY }]);
  worker.vanish();
});

test("a child that waits is stopped with its run, and a run waits for one that does (D3)", async () => {
  const client = house.client();
  const submitRun = async (failurePolicy: FailurePolicy) =>
    await client.call(JobService.method.submitRun, {
      parent: { kind: "parent" },
      children: [{ kind: "waits-long" }, { kind: "ends-soon" }],
      failurePolicy,
    });
  const waiting = await attachWorker(client, { kinds: ["waits-long"] });
  const ending = await attachWorker(client, { kinds: ["ends-soon"] });
  for (const failurePolicy of [FailurePolicy.FAIL_FAST, FailurePolicy.CONTINUE]) {
    const { runId, childIds } = await submitRun(failurePolicy);
    const [childId = ""] = childIds;
    waiting.credit(1);
    ending.credit(1);
    await wait(waiting, await waiting.lease());
    await ending.report(await ending.lease(), failure("BOOM", { permanent: true }));
    if (failurePolicy === FailurePolicy.FAIL_FAST) {
      expect((await getJob(client, childId)).state).toBe(JobState.CANCELLED);
      expect((await getJob(client, runId)).state).toBe(JobState.DEAD);
    } else {
      expect((await getJob(client, runId)).state).toBe(JobState.BLOCKED);
      const publisher = await openPublisher(client, ownChannel(childId));
      await publisher.publish(["go on"]);
      waiting.credit(1);
      await waiting.succeed(await waiting.lease());
      expect((await getJob(client, runId)).state).toBe(JobState.READY);
    }
    expect(await house.query("select from suspended where job_id = $1", [childId])).toEqual([]);
  }
  waiting.vanish();
  ending.vanish();
});

test("a worker that cannot hold a stream waits by a call", async () => {
  const client = house.client();
  const { claim, wait: waitByCall } = WorkerService.method;
  const jobId = await submitOne(client, { kind: "called" });
  const worker = { ...greeting, kinds: ["called"] };
  const claimed = await client.call(claim, { requestId: "1", worker, maxJobs: 1 });
  const { sessionId } = claimed;
  const ask = async (fencingToken: bigint) => {
    const about = { requestId: randomUUID(), jobId, fencingToken, channel: ownChannel(jobId) };
    return (await client.call(waitByCall, { sessionId, wait: about })).verdict?.answer;
  };
  const first = claimed.leases?.leases[0]?.fencingToken ?? 0n;
  expect(await ask(first)).toMatchObject({ case: "suspended" });
  const publisher = await openPublisher(client, ownChannel(jobId));
  await publisher.publish(["called back"]);
  const next = await until(async () => {
    const { leases } = await client.call(claim, {
      requestId: randomUUID(),
      sessionId,
      maxJobs: 1,
      deliveredThrough: claimed.leases?.delivery ?? 0n,
    });
    return leases?.leases[0];
  }, "the woken job");
  expect(payloadOf((await ask(next.fencingToken)) as WaitVerdict["answer"])).toBe("called back");
});

test("a channel of another needs the scope to read it", async () => {
  const scopes = ["access:admin", "jobs:submit", "jobs:read", "workers:attach", "signals:publish"];
  const { apiKey } = await house.client().call(AccessService.method.createKey, { subject: "line", scopes });
  const { worker, lease } = await leased(house.client({ apiKey }));
  expect(await wait(worker, lease, { channel: { name: "gossip" } })).toMatchObject({
    case: "refused",
    value: { reason: "SCOPE_MISSING" },
  });
  expect(await wait(worker, lease)).toMatchObject({ case: "suspended" });
  worker.vanish();
});
