import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, success } from "../harness/raw-worker.js";

const house = useHub();

test("a job goes from submit to a committed verdict, and its history has every revision once (D1, D5, D20)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { payload: Buffer.from("in"), labels: { site: "north" } });
  const worker = await attachWorker(client);
  worker.credit(1);
  const lease = await worker.lease();
  expect(lease).toMatchObject({
    jobId,
    attempt: 1,
    maxAttempts: 5,
    fencingToken: 1n,
    labels: { site: "north" },
  });
  expect(Buffer.from(lease.payload).toString()).toBe("in");

  const { fencingToken } = lease;
  worker.stream.send(
    { case: "checkpoint", value: { jobId, fencingToken, sequence: 1n, state: Buffer.from("half") } },
    worker.delivered(),
  );
  expect(await worker.stream.next("checkpointSaved")).toMatchObject({ jobId, verdict: Verdict.COMMITTED });
  worker.stream.send({
    case: "progress",
    value: { progress: [{ jobId, fencingToken, progress: { percent: 50, message: "half" } }] },
  });
  await until(async () => {
    const { job } = await client.call(JobService.method.get, { jobId });
    return job?.progress?.percent === 50;
  }, "progress on the job");
  expect(await worker.succeed(lease, "out")).toMatchObject({
    verdict: Verdict.COMMITTED,
    state: JobState.SUCCEEDED,
  });

  const { job, history } = await client.call(JobService.method.get, { jobId, includeHistory: true });
  expect(job).toMatchObject({ state: JobState.SUCCEEDED, attempt: 1, sessionId: "", revision: 3 });
  expect(job?.outcome?.outcome).toMatchObject({ case: "success", value: { contentType: "text/plain" } });
  expect(history.map(({ type, revision }) => [type, revision])).toEqual([
    [JobEventType.SUBMITTED, 1],
    [JobEventType.LEASED, 2],
    [JobEventType.SUCCEEDED, 3],
  ]);
  expect(new Set(history.map((event) => event.id)).size).toBe(3);
});

test("a result that is sent again is DUPLICATE, another result under the same token is STALE (D5)", async () => {
  const client = house.client();
  await submitOne(client);
  const worker = await attachWorker(client);
  worker.credit(1);
  const lease = await worker.lease();
  expect((await worker.succeed(lease, "first")).verdict).toBe(Verdict.COMMITTED);
  expect((await worker.succeed(lease, "first")).verdict).toBe(Verdict.DUPLICATE);
  expect((await worker.succeed(lease, "second")).verdict).toBe(Verdict.STALE);
});

test("a report, a checkpoint and a release under a token that is not current change nothing (D4)", async () => {
  const client = house.client();
  const jobId = await submitOne(client);
  const worker = await attachWorker(client);
  worker.credit(1);
  const lease = await worker.lease();
  const before = await house.query("select * from job where id = $1", [jobId]);
  for (const fencingToken of [lease.fencingToken - 1n, lease.fencingToken + 1n, 2n ** 62n]) {
    expect((await worker.succeed({ jobId, fencingToken })).verdict).toBe(Verdict.STALE);
    worker.stream.send({
      case: "checkpoint",
      value: { jobId, fencingToken, sequence: 5n, state: Buffer.from("x") },
    });
    expect(await worker.stream.next("checkpointSaved")).toMatchObject({ verdict: Verdict.STALE });
    worker.stream.send({ case: "release", value: { leases: [{ jobId, fencingToken, started: true }] } });
  }
  expect((await worker.succeed({ jobId: lease.jobId, fencingToken: 0n })).verdict).toBe(Verdict.STALE);
  expect(await house.query("select * from job where id = $1", [jobId])).toEqual(before);
  expect((await worker.succeed(lease)).verdict).toBe(Verdict.COMMITTED);
});

test("a checkpoint that was acknowledged is what the next attempt starts from; a lower one is STALE, the newest again DUPLICATE (D7)", async () => {
  const client = house.client();
  const jobId = await submitOne(client);
  const worker = await attachWorker(client);
  worker.credit(2);
  const { fencingToken } = await worker.lease();
  const save = async (sequence: bigint, state: string) => {
    const value = { jobId, fencingToken, sequence, state: Buffer.from(state) };
    worker.stream.send({ case: "checkpoint", value }, worker.delivered());
    return (await worker.stream.next("checkpointSaved")).verdict;
  };
  expect(await save(1n, "one")).toBe(Verdict.COMMITTED);
  expect(await save(3n, "three")).toBe(Verdict.COMMITTED);
  expect(await save(3n, "three")).toBe(Verdict.DUPLICATE);
  expect(await save(2n, "two")).toBe(Verdict.STALE);
  worker.stream.send({ case: "release", value: { leases: [{ jobId, fencingToken, started: true }] } });
  const again = await worker.lease();
  expect(again).toMatchObject({ jobId, attempt: 2 });
  expect(again.fencingToken).toBeGreaterThan(fencingToken);
  expect(again.checkpoint?.sequence).toBe(3n);
  expect(Buffer.from(again.checkpoint?.state ?? []).toString()).toBe("three");
  expect((await worker.succeed(again)).verdict).toBe(Verdict.COMMITTED);
});

test("submitting again with the same key returns the first job, with other content it is refused (D2)", async () => {
  const client = house.client();
  const job = { kind: "keyed", payload: Buffer.from("a"), idempotencyKey: "order-1" };
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => client.call(JobService.method.submit, { job })),
  );
  expect(new Set(answers.map((answer) => answer.jobId)).size).toBe(1);
  expect(answers.filter((answer) => !answer.existing)).toHaveLength(1);
  const other = { ...job, payload: Buffer.from("b") };
  expect(await client.refused(JobService.method.submit, { job: other })).toMatchObject({
    code: 6,
    reason: "IDEMPOTENCY_CONFLICT",
    metadata: { job_id: answers[0]?.jobId },
  });
});

// Last, because its keys close the open hub.
test("a report for another tenant's job is STALE, even an exact copy of its result, and writes nothing (D4)", async () => {
  const { apiKey: admin } = await house.client().call(AccessService.method.createKey, {
    subject: "admin",
    scopes: ["access:admin"],
  });
  const clientOf = async (tenant: string) => {
    const scopes = ["workers:attach", "jobs:submit"];
    const key = { subject: tenant, tenant, scopes };
    const { apiKey } = await house.client({ apiKey: admin }).call(AccessService.method.createKey, key);
    return house.client({ apiKey });
  };
  const client = await clientOf("default");
  const jobId = await submitOne(client);
  const worker = await attachWorker(client);
  worker.credit(1);
  const lease = await worker.lease();
  const stranger = await attachWorker(await clientOf("elsewhere"));
  const before = await house.query("select * from job where id = $1", [jobId]);
  expect((await stranger.succeed(lease)).verdict).toBe(Verdict.STALE);
  expect(await house.query("select * from job where id = $1", [jobId])).toEqual(before);
  expect((await worker.report(lease, success("mine"))).verdict).toBe(Verdict.COMMITTED);
  expect((await stranger.report(lease, success("mine"))).verdict).toBe(Verdict.STALE);
});
