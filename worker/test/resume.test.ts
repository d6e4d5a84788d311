import { status } from "@grpc/grpc-js";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { LostReason, Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { LeaseLostError, TrustWindowError } from "../src/index.js";
import { until } from "./scripted-hub.js";
import { abortable, gate, inAnotherSession, testHub, testWorker } from "./test-worker.js";

test("a result is sent on every new stream until its verdict came, and its job is not run again (D5)", async () => {
  const hub = await testHub({ verdict: () => undefined });
  let starts = 0;
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: () => {
        starts++;
        return "kept";
      },
    },
  });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => first.results.length === 1, "the result");
  first.cut();
  const second = await hub.live(2);
  await until(() => second.results.length === 1, "the result again");
  expect(second.hello).toMatchObject({ sessionId: "session-1", held: [{ jobId: "a", fencingToken: 1n }] });
  second.cut();
  const third = await hub.live(3);
  await until(() => third.results.length === 1, "the result once more");
  expect(third.results[0]).toEqual(first.results[0]);
  third.verdict(Verdict.DUPLICATE, "a");
  await until(() => worker.stats().duplicate === 1, "the verdict");
  third.cut();
  const fourth = await hub.live(4);
  expect(fourth.hello?.held).toEqual([]);
  expect(starts).toBe(1);
});

test("a reconnecting worker names every lease it holds, running and waiting, and goes on with those that stand (D6)", async () => {
  const hub = await testHub();
  const running = gate();
  testWorker({ address: hub.address, concurrency: 1, handlers: { work: () => running.opened } });
  const first = await hub.live();
  first.lease({ jobId: "a", checkpoint: { sequence: 3n, state: new Uint8Array(1) } }, { jobId: "b" });
  await until(() => first.all("heartbeat").some((_, i) => i > 1), "a heartbeat after the leases");
  first.cut();
  const second = await hub.live(2);
  expect(second.hello?.held).toMatchObject([
    { jobId: "a", fencingToken: 1n, checkpointSequence: 3n },
    { jobId: "b", fencingToken: 1n, checkpointSequence: 0n },
  ]);
  running.open();
  await until(() => second.results.length === 2, "both results");
  expect(second.reported).toEqual(["a", "b"]);
  expect(second.released).toEqual([]);
});

test("the credit of a new stream leaves room for what is still held", async () => {
  const hub = await testHub();
  const running = gate();
  testWorker({ address: hub.address, concurrency: 2, prefetch: 3, handlers: { work: () => running.opened } });
  const first = await hub.live();
  await until(() => first.credit.jobs === 5, "the grant");
  first.lease({ jobId: "a" }, { jobId: "b" }, { jobId: "c" });
  await until(() => first.all("heartbeat").length > 2, "a heartbeat");
  first.cut();
  const second = await hub.live(2);
  await until(() => second.creditMessages > 0, "the grant");
  expect(second.credit.jobs).toBe(2);
  running.open();
  await until(() => second.credit.jobs === 5, "all credit");
});

test("a lease that the hub says is lost stops its handler, and nothing is reported for it (D4)", async () => {
  const hub = await testHub();
  const { reasons, handler } = abortable();
  const worker = testWorker({
    address: hub.address,
    concurrency: 1,
    prefetch: 1,
    handlers: { work: handler },
  });
  const first = await hub.live();
  first.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => worker.stats().waiting === 1, "both leases");
  hub.script.welcome = inAnotherSession;
  first.cut();
  const second = await hub.live(2);
  await until(() => second.credit.jobs === 2, "the credit of both");
  expect(reasons).toHaveLength(1);
  expect(reasons[0]).toBeInstanceOf(LeaseLostError);
  expect(second.results).toEqual([]);
  expect(second.released).toEqual([]);
  expect(worker.stats()).toMatchObject({ running: 0, waiting: 0, failed: 0 });
});

test("a kept result is sent although its lease is lost, and is final when the hub has had it (D5)", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const worker = testWorker({ address: hub.address });
  const first = await hub.live();
  first.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => first.results.length === 2, "the results");
  hub.script.welcome = (hello) => ({
    sessionId: hello.sessionId,
    resumed: true,
    held: [
      { jobId: "a", fencingToken: 1n, kept: false, lostReason: LostReason.REPORTED },
      { jobId: "b", fencingToken: 1n, kept: false, lostReason: LostReason.STALE_FENCE },
    ],
  });
  hub.script.verdict = () => Verdict.STALE;
  first.cut();
  const second = await hub.live(2);
  await until(() => worker.stats().stale === 1, "the verdict");
  expect(second.reported).toEqual(["b"]);
  expect(worker.stats()).toMatchObject({ duplicate: 1, stale: 1 });
});

test("a new session acknowledges its own deliveries, not those of the one before", async () => {
  const hub = await testHub();
  testWorker({ address: hub.address });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => first.all("heartbeat").length > 1 && first.results.length === 1, "the result");
  hub.script.welcome = () => ({ sessionId: "another" });
  first.cut();
  const second = await hub.live(2);
  await until(() => second.all("heartbeat").length > 0, "a heartbeat");
  expect(second.received.map(({ deliveredThrough }) => deliveredThrough)).not.toContain(1n);
});

test("a resumed stream acknowledges only what was delivered on it: the hub may have missed the last one before", async () => {
  const hub = await testHub();
  testWorker({ address: hub.address });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => first.results.length === 1, "the result");
  first.cut();
  const second = await hub.live(2);
  expect(second.hello?.sessionId).toBe("session-1");
  await until(() => second.all("heartbeat").length > 1, "heartbeats");
  expect(new Set(second.received.map(({ deliveredThrough }) => deliveredThrough))).toEqual(new Set([0n]));
  second.lease({ jobId: "b" });
  await until(() => second.received.at(-1)?.deliveredThrough === 2n, "the acknowledgement");
});

test.each([
  ["has expired", status.ABORTED, "SESSION_EXPIRED"],
  ["counts its deliveries differently", status.OUT_OF_RANGE, "ACK_BEYOND_SENT"],
])("a session that %s is left behind: handlers stop, results go to the new one", async (_, code, reason) => {
  const hub = await testHub({ verdict: ({ jobId }) => (jobId === "done" ? undefined : Verdict.COMMITTED) });
  const { reasons, handler } = abortable();
  const worker = testWorker({
    address: hub.address,
    handlers: { work: (job) => (job.id === "done" ? "kept" : handler(job)) },
  });
  const first = await hub.live();
  first.lease({ jobId: "done" }, { jobId: "running" });
  await until(() => first.results.length === 1 && worker.stats().running === 1, "one result, one handler");
  first.fail(code, reason);
  const second = await hub.live(2);
  expect(second.hello).toMatchObject({ sessionId: "", held: [] });
  await until(() => second.results.length === 1, "the result again");
  expect(second.reported).toEqual(["done"]);
  expect(reasons).toEqual([expect.any(LeaseLostError)]);
});

test("a job with policy finish-and-report outlives its session: the verdict tells whether its result still counts", async () => {
  const hub = await testHub({ verdict: () => Verdict.STALE });
  const running = gate();
  const worker = testWorker({ address: hub.address, handlers: { work: running.handler } });
  const first = await hub.live();
  const disconnectPolicy = DisconnectPolicy.FINISH_AND_REPORT;
  first.lease({ jobId: "a", disconnectPolicy }, { jobId: "b", disconnectPolicy });
  await until(() => worker.stats().running === 2, "the handlers");
  hub.script.welcome = inAnotherSession;
  first.cut();
  const second = await hub.live(2);
  second.fail(status.ABORTED, "SESSION_EXPIRED");
  const third = await hub.live(3);
  await until(() => third.credit.jobs === 30, "credit without the two that are held");
  running.open();
  await until(() => worker.stats().stale === 2, "the verdicts");
  expect(third.reported).toEqual(["a", "b"]);
  expect(running.aborts).toEqual([]);
});

test("the disconnect limit holds for jobs of an expired session too", async () => {
  const hub = await testHub();
  const { reasons, handler } = abortable();
  const worker = testWorker({ address: hub.address, handlers: { work: handler } });
  const first = await hub.live();
  const disconnectLimit = { seconds: 0n, nanos: 200_000_000 };
  first.lease({ jobId: "a", disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT, disconnectLimit });
  await until(() => worker.stats().running === 1, "the handler");
  hub.script.welcome = () => undefined;
  first.fail(status.ABORTED, "SESSION_EXPIRED");
  const expiredAt = performance.now();
  await until(() => reasons.length === 1, "the end of the limit");
  expect(reasons[0]).toBeInstanceOf(TrustWindowError);
  expect(performance.now() - expiredAt).toBeGreaterThan(150);
  expect(performance.now() - expiredAt).toBeLessThan(hub.script.ttlMs / 2);
});

test("a lease that ends between hello and welcome is given back, not forgotten", async () => {
  const hub = await testHub();
  const running = gate();
  const worker = testWorker({
    address: hub.address,
    concurrency: 1,
    drainTimeoutMs: 5_000,
    handlers: { work: () => running.opened },
  });
  const first = await hub.live();
  first.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => worker.stats().waiting === 1, "both leases");
  hub.script.welcome = () => undefined;
  first.cut();
  const second = await hub.stream(2);
  expect(second.hello?.held.map(({ jobId }) => jobId)).toEqual(["a", "b"]);
  void worker.stop().catch(() => {});
  await until(() => worker.stats().waiting === 0, "the release of what waits");
  second.welcome({
    sessionId: "session-1",
    resumed: true,
    held: ["a", "b"].map((jobId) => ({ jobId, fencingToken: 1n, kept: true })),
  });
  await until(() => second.released.length > 0, "the release");
  expect(second.released).toEqual(["b waiting"]);
  running.open();
});
