import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService, type WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { RevokeReason, Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NatsServer } from "../../src/nats/nats-server.js";
import { useNats } from "../harness/nats.js";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, inMs, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

// Heartbeats, and with them the comparison of leases that makes up for a lost message, are so rare here that a revoke
// that comes sooner came over the bus. What else is looked up in the ledger is looked up every five seconds.
const heartbeatIntervalMs = 30_000;
const beforeHeartbeatMs = 15_000;
const beforeLookMs = 4_000;

const nats = useNats();
const house = useHub({
  get natsUrl() {
    return nats.url();
  },
  sessionTtlMs: 3 * heartbeatIntervalMs,
  heartbeatIntervalMs,
});

let here: RawClient;
let there: RawClient;
let thereAddress: string;
beforeAll(async () => {
  here = house.client();
  const peer = await house.startPeer();
  thereAddress = peer.grpcAddress;
  there = openRawClient(thereAddress);
  await untilAcquainted();
});
afterAll(() => there.close());

async function untilAcquainted(): Promise<void> {
  await until(async () => {
    const page = await (await fetch(`http://${house.hub().httpAddress}/metrics`)).text();
    return /^holdfast_peers(?:\{[^}]*\})? 1$/m.test(page);
  }, "the hubs to know each other");
}

/** A job that a worker of the other hub has leased. */
async function leasedThere(kind: string, job: Parameters<typeof submitOne>[1] = {}) {
  const worker = await attachWorker(there, { kinds: [kind] });
  const jobId = await submitOne(there, { ...job, kind });
  worker.credit(10);
  return { worker, jobId, lease: await worker.lease() };
}

async function within<T>(limitMs: number, act: Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await act;
  expect(performance.now() - startedAt).toBeLessThan(limitMs);
  return result;
}

test("a cancel on one hub is told to the worker on another at once, and its report is STALE (D4)", async () => {
  const { worker, jobId, lease } = await leasedThere("cancelled");

  await here.call(JobService.method.cancel, { jobId, reason: "not wanted" });

  const { leases } = await within(beforeHeartbeatMs, worker.stream.next("revoke"));
  expect(leases).toMatchObject([
    {
      jobId,
      fencingToken: lease.fencingToken,
      reason: RevokeReason.CANCELLED,
      grace: { seconds: 0n, nanos: 0 },
      message: "not wanted",
    },
  ]);
  expect((await worker.succeed(lease)).verdict).toBe(Verdict.STALE);
});

test("a cancel with grace is told with its grace, and its end when the grace is over (D4)", async () => {
  const { worker, jobId } = await leasedThere("graceful");

  await here.call(JobService.method.cancel, { jobId, grace: duration(700) });

  const first = await within(beforeHeartbeatMs, worker.stream.next("revoke"));
  expect(first.leases).toMatchObject([{ jobId, grace: { nanos: 700_000_000 } }]);
  const second = await within(beforeHeartbeatMs, worker.stream.next("revoke"));
  expect(second.leases).toMatchObject([{ jobId, grace: { seconds: 0n, nanos: 0 } }]);
  expect((await getJob(here, jobId)).state).toBe(JobState.CANCELLED);
});

test("a deadline that either hub notices is told to the worker (D8)", async () => {
  const { worker, jobId } = await leasedThere("late", { deadline: inMs(800) });

  const { leases } = await within(beforeHeartbeatMs, worker.stream.next("revoke"));

  expect(leases).toMatchObject([{ jobId, reason: RevokeReason.DEADLINE }]);
});

test("a Watch on one hub follows jobs that are worked on at another without waiting for its poll (D20)", async () => {
  const worker = await attachWorker(there, { kinds: ["watched"] });
  worker.credit(20);
  const startedAt = performance.now();
  const rounds = 8;

  for (let round = 0; round < rounds; round++) {
    const jobId = await submitOne(there, { kind: "watched" });
    const lease = await worker.lease();
    const updates: WatchResponse[] = [];
    const ended = (async () => {
      for await (const update of here.serverStream(JobService.method.watch, { targets: [{ jobId }] }))
        updates.push(update);
    })();
    await until(() => updates.length === 2, "the history");
    await worker.succeed(lease);
    await ended;
    expect(updates.at(-1)?.update.value).toMatchObject({ type: JobEventType.SUCCEEDED });
  }

  // By polling alone each round would take two seconds.
  expect(performance.now() - startedAt).toBeLessThan(rounds * 1_000);
});

test("a lane that one hub makes is known to the others at once: their workers get its first job", async () => {
  const worker = await attachWorker(there, { kinds: ["brand-new"] });
  worker.credit(1);

  const jobId = await submitOne(here, { kind: "brand-new" });

  expect((await within(beforeLookMs, worker.lease())).jobId).toBe(jobId);
});

test("a cancel that the bus lost is told as soon as hubs hear each other again, without waiting for a heartbeat (D4)", async () => {
  const { worker, jobId } = await leasedThere("missed");
  const [server] = nats.servers() as [NatsServer];
  const isAway = () => house.lines.filter((line) => line.includes("NATS is away")).length === 2;

  await server.kill();
  await until(isAway, "both hubs to notice");
  await here.call(JobService.method.cancel, { jobId });
  await server.start({ isWiped: true });

  const { leases } = await within(beforeHeartbeatMs, worker.stream.next("revoke"));
  expect(leases).toMatchObject([{ jobId, grace: { seconds: 0n, nanos: 0 } }]);
  const connections = () => house.lines.filter((line) => line.startsWith("NATS at")).length;
  await until(() => connections() === 4, "both hubs to be back");
});

test("the first key closes every hub, and a revoked one ends its calls, streams and watches on all of them", async () => {
  const every = ["access:admin", "jobs:submit", "jobs:read", "jobs:cancel", "fleet:read", "workers:attach"];
  await untilAcquainted();
  await submitOne(there);
  const { apiKey: adminKey } = await here.call(AccessService.method.createKey, {
    subject: "admin",
    scopes: every,
  });
  const isClosed = async () =>
    (await there.refused(JobService.method.submit, {})).reason === "UNAUTHENTICATED";
  await within(beforeLookMs, until(isClosed, "the other hub to be closed"));
  const admin = house.client({ apiKey: adminKey });
  const { apiKey, key } = await admin.call(AccessService.method.createKey, {
    subject: "someone",
    scopes: every,
  });
  const someone = openRawClient(thereAddress, { apiKey });
  const jobId = await submitOne(someone, { kind: "keyed" });
  const worker = await attachWorker(someone, { kinds: ["keyed"] });
  // A heartbeat would find out by itself.
  worker.fallSilent();
  const updates: WatchResponse[] = [];
  const watch = (async () => {
    for await (const update of someone.serverStream(JobService.method.watch, { targets: [{ jobId }] }))
      updates.push(update);
  })().catch((failure: unknown) => failure);
  await until(() => updates.length > 0, "the watch");

  await admin.call(AccessService.method.revokeKey, { keyId: key?.keyId ?? "" });

  const ends = await within(beforeLookMs, Promise.all([worker.stream.ended, watch]));
  expect(ends).toMatchObject([{ reason: "UNAUTHENTICATED" }, { reason: "UNAUTHENTICATED" }]);
  expect(await someone.refused(JobService.method.get, { jobId })).toMatchObject({
    reason: "UNAUTHENTICATED",
  });
  someone.close();
});
