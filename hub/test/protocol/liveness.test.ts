import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { openRawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitMany, submitOne } from "../harness/raw-jobs.js";
import { pausableProxy } from "../harness/raw-proxy.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, greeting } from "../harness/raw-worker.js";

const house = useHub();

test("a heartbeat is answered with its nonce, a new one and the time left, after the renewal (D6)", async () => {
  const stream = house.client().attach();
  stream.send({ case: "hello", value: greeting });
  const { sessionId } = await stream.next("welcome");
  const expiry = async () => {
    const [row] = await house.query<{ at: Date }>(
      "select expires_at as at from session where session_id = $1",
      [sessionId],
    );
    return Number(row?.at);
  };
  const before = await expiry();
  stream.send({ case: "heartbeat", value: { nonce: 77n, echo: 0n } });
  const first = await stream.next("heartbeat");
  expect(first).toMatchObject({ echo: 77n, timeLeft: { seconds: 1n, nanos: 200_000_000 } });
  expect(await expiry()).toBeGreaterThan(before);
  stream.send({ case: "heartbeat", value: { nonce: 78n, echo: first.nonce } });
  const second = await stream.next("heartbeat");
  expect(second.echo).toBe(78n);
  expect(second.nonce).not.toBe(first.nonce);
  stream.cancel();
});

test("a worker that sends heartbeats but never echoes is told HEARTBEAT_MISSED; its jobs go elsewhere (D6)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "deaf" });
  const stream = client.attach();
  stream.send({ case: "hello", value: { ...greeting, kinds: ["deaf"] } });
  await stream.next("welcome");
  stream.send({ case: "credit", value: { jobs: 1, bytes: 1_000n } });
  await stream.next("leases");
  const other = await attachWorker(client, { kinds: ["deaf"] });
  other.credit(1);
  const beats = setInterval(() => stream.send({ case: "heartbeat", value: { nonce: 1n, echo: 0n } }), 100);
  expect(await stream.ended).toMatchObject({ code: 10, domain: "holdfast", reason: "HEARTBEAT_MISSED" });
  clearInterval(beats);
  expect(await other.lease()).toMatchObject({ jobId, attempt: 1 });
});

/** Some of the jobs that are not done were granted to somebody, who may have lost them since. */
const wereLeased = async () =>
  (await house.query("select 1 from job where state < 6 and fencing_token > 0 limit 1")).length > 0;

test("a worker whose machine reads nothing any more loses its jobs to another, and its stream is torn down (D6)", async () => {
  await house.emptied();
  const proxy = await pausableProxy(house.hub().grpcAddress);
  const deafClient = openRawClient(proxy.address);
  const client = house.client();
  await submitMany(
    client,
    Array.from({ length: 40 }, () => ({ kind: "big", payload: Buffer.alloc(900_000) })),
  );
  const deaf = await attachWorker(deafClient, { kinds: ["big"] });
  proxy.stopReading();
  // A message for each: more than the transport takes without being read.
  for (let count = 0; count < 40; count += 1) deaf.credit(1);
  await until(wereLeased, "leases on their way to nowhere");
  const other = await attachWorker(client, { kinds: ["big"] });
  other.credit(40);
  const done = new Set<string>();
  for (let count = 0; count < 40; count += 1) {
    const lease = await other.lease();
    expect(lease.attempt).toBe(1);
    expect((await other.succeed(lease)).verdict).toBe(Verdict.COMMITTED);
    done.add(lease.jobId);
  }
  expect(done.size).toBe(40);
  await until(async () => (await house.streams()) <= 1, "the deaf stream's end at the hub");
  deafClient.close();
  await proxy.close();
});

test("a worker that stops reading its stream alone, on a healthy connection, is sent away too (D6)", async () => {
  await house.emptied();
  const client = house.client();
  await submitMany(
    client,
    Array.from({ length: 40 }, () => ({ kind: "full", payload: Buffer.alloc(900_000) })),
  );
  const deaf = await attachWorker(client, { kinds: ["full"] });
  deaf.stream.pause();
  for (let count = 0; count < 40; count += 1) deaf.credit(1);
  const other = await attachWorker(client, { kinds: ["full"] });
  await until(wereLeased, "leases on their way to nobody");
  other.credit(40);
  for (let count = 0; count < 40; count += 1) await other.succeed(await other.lease());
  await until(async () => (await house.streams()) <= 1, "the deaf stream's end at the hub");
  deaf.vanish();
});

test("a worker that echoes but does not acknowledge is told DELIVERY_UNACKNOWLEDGED; its jobs go elsewhere without costing an attempt (D6)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "unheard" });
  const worker = await attachWorker(client, { kinds: ["unheard"] });
  worker.stopAcknowledging();
  worker.credit(1);
  expect(await worker.lease()).toMatchObject({ jobId, attempt: 1 });
  const other = await attachWorker(client, { kinds: ["unheard"] });
  other.credit(1);
  expect(await worker.stream.ended).toMatchObject({
    code: 10,
    domain: "holdfast",
    reason: "DELIVERY_UNACKNOWLEDGED",
  });
  const again = await other.lease();
  expect(again).toMatchObject({ jobId, attempt: 1 });
  await other.succeed(again);
  const { job, history } = await client.call(JobService.method.get, { jobId, includeHistory: true });
  expect(job).toMatchObject({ state: JobState.SUCCEEDED, attempt: 1 });
  expect(history.map((event) => event.type)).toContain(JobEventType.RELEASED);
});

test("a worker that falls silent loses its session by the ledger's clock; a delivered attempt counts, its late report is STALE (D4, D6)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "silent" });
  const silent = await attachWorker(client, { kinds: ["silent"] });
  silent.credit(1);
  const lease = await silent.lease();
  silent.stream.send({ case: "heartbeat", value: { nonce: 9n, echo: 0n } }, silent.delivered());
  await silent.stream.next("heartbeat", (beat) => beat.echo === 9n);
  silent.fallSilent();
  const other = await attachWorker(client, { kinds: ["silent"] });
  other.credit(1);
  const again = await other.lease();
  expect(again).toMatchObject({ jobId, attempt: 2 });
  expect(again.fencingToken).toBeGreaterThan(lease.fencingToken);
  expect(["HEARTBEAT_MISSED", "SESSION_EXPIRED"]).toContain((await silent.stream.ended)?.reason);
  expect(await other.succeed(lease, "late")).toMatchObject({ verdict: Verdict.STALE });
  expect((await other.succeed(again)).verdict).toBe(Verdict.COMMITTED);
  expect(await getJob(client, jobId)).toMatchObject({ state: JobState.SUCCEEDED, attempt: 2 });
});

test("a job whose every worker is lost is dead-lettered as WORKER_LOST after the last attempt (D8)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "deadly", retry: { maxAttempts: 1 } });
  const worker = await attachWorker(client, { kinds: ["deadly"] });
  worker.credit(1);
  await worker.lease();
  worker.stream.send({ case: "heartbeat", value: { nonce: 9n, echo: 0n } }, worker.delivered());
  await worker.stream.next("heartbeat", (beat) => beat.echo === 9n);
  worker.vanish();
  await until(async () => (await getJob(client, jobId)).state === JobState.DEAD, "the dead letter");
  expect((await getJob(client, jobId)).outcome?.outcome).toMatchObject({
    case: "failure",
    value: { code: "WORKER_LOST" },
  });
});

/** A worker that acknowledged its only attempt at a job, and has sent no heartbeat since. */
async function onLastAttempt(kind: string) {
  const client = house.client();
  const jobId = await submitOne(client, { kind, retry: { maxAttempts: 1 } });
  const worker = await attachWorker(client, { kinds: [kind] });
  worker.fallSilent();
  worker.credit(1);
  const { fencingToken } = await worker.lease();
  worker.credit(0, 0);
  expect(await worker.succeed({ jobId, fencingToken: fencingToken + 1n })).toMatchObject({
    verdict: Verdict.STALE,
  });
  const isLost = async () => {
    const { state, outcome } = await getJob(client, jobId);
    expect(outcome?.outcome.value ?? { code: "WORKER_LOST" }).toMatchObject({ code: "WORKER_LOST" });
    return state === JobState.DEAD;
  };
  return { client, worker, isLost };
}

test("an attempt that was acknowledged counts although no heartbeat came after, when the stream is lost (D6, D8)", async () => {
  const { worker, isLost } = await onLastAttempt("killing");
  worker.vanish();
  await until(isLost, "the dead letter");
});

test("an attempt that was acknowledged counts although no heartbeat came after, when the machine is lost (D6, D8)", async () => {
  const { isLost } = await onLastAttempt("freezing");
  await until(isLost, "the dead letter");
});

test("an attempt that was acknowledged counts when its worker comes back at once without it, here or elsewhere (D6, D8)", async () => {
  const peer = await house.startPeer();
  const elsewhere = openRawClient(peer.grpcAddress);
  for (const kind of ["restarting", "moving"]) {
    const { client, worker, isLost } = await onLastAttempt(kind);
    const streams = await house.streams();
    worker.vanish();
    await until(async () => (await house.streams()) < streams, "the end of the stream");
    const { sessionId } = worker.welcome;
    const isSaved = "select from session where session_id = $1 and delivered_through > 0";
    if (kind === "moving")
      await until(async () => (await house.query(isSaved, [sessionId])).length > 0, "the acknowledgement");
    const back = await attachWorker(kind === "moving" ? elsewhere : client, { kinds: [kind], sessionId });
    expect(back.welcome.resumed).toBe(true);
    await until(isLost, "the dead letter");
  }
  elsewhere.close();
});

test("leases that a broken stream never acknowledged go back to ready before the session expires (D6)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "broken" });
  const worker = await attachWorker(client, { kinds: ["broken"] });
  worker.stopAcknowledging();
  worker.credit(1);
  await worker.lease();
  worker.vanish();
  const other = await attachWorker(client, { kinds: ["broken"] });
  other.credit(1);
  expect(await other.lease()).toMatchObject({ jobId, attempt: 1 });
});
