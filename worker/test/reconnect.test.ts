import { status } from "@grpc/grpc-js";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { LostReason, Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { LeaseLostError, TrustWindowError } from "../src/index.js";
import { type Script, ScriptedHub, until } from "./scripted-hub.js";
import { gate, testHub, testWorker } from "./test-worker.js";

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
  const reasons: unknown[] = [];
  const worker = testWorker({
    address: hub.address,
    concurrency: 1,
    prefetch: 1,
    handlers: {
      work: ({ signal }) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            reasons.push(signal.reason);
            resolve("too late");
          });
        }),
    },
  });
  const first = await hub.live();
  first.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => worker.stats().waiting === 1, "both leases");
  hub.script.welcome = (hello) => ({
    sessionId: "session-2",
    held: hello.held.map(({ jobId, fencingToken }) => ({
      jobId,
      fencingToken,
      kept: false,
      lostReason: LostReason.SESSION_EXPIRED,
    })),
  });
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

test("an expired session is left behind: handlers stop, results go to the new one", async () => {
  const hub = await testHub({ verdict: ({ jobId }) => (jobId === "done" ? undefined : Verdict.COMMITTED) });
  let aborted: unknown;
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: ({ id, signal }) =>
        id === "done"
          ? "kept"
          : new Promise((resolve) => {
              signal.addEventListener("abort", () => {
                aborted = signal.reason;
                resolve();
              });
            }),
    },
  });
  const first = await hub.live();
  first.lease({ jobId: "done" }, { jobId: "running" });
  await until(() => first.results.length === 1 && worker.stats().running === 1, "one result, one handler");
  first.fail(status.ABORTED, "SESSION_EXPIRED");
  const second = await hub.live(2);
  expect(second.hello).toMatchObject({ sessionId: "", held: [] });
  await until(() => second.results.length === 1, "the result again");
  expect(second.reported).toEqual(["done"]);
  expect(aborted).toBeInstanceOf(LeaseLostError);
});

test("a job with policy finish-and-report outlives its session: the verdict tells whether its result still counts", async () => {
  const hub = await testHub({ verdict: () => Verdict.STALE });
  const running = gate();
  let isAborted = false;
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: ({ signal }) => {
        signal.addEventListener("abort", () => {
          isAborted = true;
        });
        return running.opened;
      },
    },
  });
  const first = await hub.live();
  const disconnectPolicy = DisconnectPolicy.FINISH_AND_REPORT;
  first.lease({ jobId: "a", disconnectPolicy }, { jobId: "b", disconnectPolicy });
  await until(() => worker.stats().running === 2, "the handlers");
  hub.script.welcome = (hello) => ({
    sessionId: "another",
    held: hello.held.map(({ jobId, fencingToken }) => ({
      jobId,
      fencingToken,
      kept: false,
      lostReason: LostReason.SESSION_EXPIRED,
    })),
  });
  first.cut();
  const second = await hub.live(2);
  second.fail(status.ABORTED, "SESSION_EXPIRED");
  const third = await hub.live(3);
  await until(() => third.credit.jobs === 30, "credit without the two that are held");
  running.open();
  await until(() => worker.stats().stale === 2, "the verdicts");
  expect(third.reported).toEqual(["a", "b"]);
  expect(isAborted).toBe(false);
});

test("the disconnect limit holds for jobs of an expired session too", async () => {
  const hub = await testHub();
  let aborted: unknown;
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: ({ signal }) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            aborted = signal.reason;
            resolve();
          });
        }),
    },
  });
  const first = await hub.live();
  const disconnectLimit = { seconds: 0n, nanos: 200_000_000 };
  first.lease({ jobId: "a", disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT, disconnectLimit });
  await until(() => worker.stats().running === 1, "the handler");
  hub.script.welcome = () => undefined;
  first.fail(status.ABORTED, "SESSION_EXPIRED");
  const expiredAt = performance.now();
  await until(() => aborted !== undefined, "the end of the limit");
  expect(aborted).toBeInstanceOf(TrustWindowError);
  expect(performance.now() - expiredAt).toBeGreaterThan(150);
  expect(performance.now() - expiredAt).toBeLessThan(hub.script.ttlMs / 2);
});

test("a lost hub is replaced by the next of the list, and the list goes round", async () => {
  const [one, two] = [await testHub(), await testHub()];
  const worker = testWorker({ address: [one.address, two.address] });
  await one.live();
  one.stop();
  await two.live();
  await one.listen();
  two.stop();
  const again = await one.live(2);
  expect(again.hello?.sessionId).toBe("session-1");
  await until(() => worker.states.filter(({ name }) => name === "live").length === 3, "the third welcome");
});

test("a worker that is started before its hub attaches once that is there, and no refusal of a connection ends it", async () => {
  const hub = await testHub();
  hub.stop();
  const worker = testWorker({ address: hub.address });
  await until(() => worker.states.filter(({ name }) => name === "backing-off").length >= 3, "three attempts");
  const because = worker.states.map((state) => (state.name === "backing-off" ? state.because : ""));
  expect(because.join()).toContain("ECONNREFUSED");
  await hub.listen();
  await hub.live();
});

test("a hub that leaves is left: what runs goes on, and the next hub resumes the session", async () => {
  const [one, two] = [await testHub(), await testHub()];
  const running = gate();
  const worker = testWorker({
    address: [one.address, two.address],
    handlers: { work: () => running.opened },
  });
  const first = await one.live();
  first.lease({ jobId: "a" });
  await until(() => worker.stats().running === 1, "the handler");
  first.send({ case: "drain", value: { grace: { seconds: 5n } } });
  await until(() => first.isEnded, "the worker to close its side");
  const second = await two.live();
  expect(second.hello).toMatchObject({ sessionId: "session-1", held: [{ jobId: "a" }] });
  running.open();
  await until(() => worker.stats().committed === 1, "the verdict");
  expect(worker.states.some((state) => state.name === "draining" && state.leaving === "hub")).toBe(true);
  expect(worker.events.filter(({ level }) => level !== "info")).toEqual([]);
});

test("verdicts that come while the worker leaves a hub still count", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const worker = testWorker({ address: hub.address });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => first.results.length === 1, "the result");
  first.send({ case: "drain", value: {} });
  first.verdict(Verdict.COMMITTED, "a");
  await until(() => worker.stats().committed === 1, "the verdict");
  const second = await hub.live(2);
  expect(second.hello?.held).toEqual([]);
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

test("a hub that speaks out of turn or unreadably loses the stream, not the worker", async () => {
  const hub = await testHub({ welcome: () => undefined });
  const worker = testWorker({ address: hub.address });
  const first = await hub.stream(1);
  first.lease({ jobId: "a" });
  const second = await hub.stream(2);
  second.welcome({ sessionId: "s" });
  second.welcome({ sessionId: "s" });
  const third = await hub.stream(3);
  third.welcome({ sessionId: "s" });
  third.send({ case: "verdicts", value: { verdicts: [{ jobId: "a", verdict: 99 as Verdict }] } });
  await hub.stream(4);
  const because = worker.states.flatMap((state) => (state.name === "backing-off" ? [state.because] : []));
  expect(because).toEqual([
    "the hub sent something unreadable: the hub did not begin with a welcome",
    "the hub sent something unreadable: the hub sent a second welcome",
    "the hub sent something unreadable: verdict 99 is unknown",
  ]);
});

test("a hub that never answers a hello is given up in time", async () => {
  const hub = await testHub({ welcome: () => undefined });
  const worker = testWorker({ address: hub.address }, { tuning: { welcomeWithinMs: 50 } });
  await hub.stream(3);
  expect(
    worker.states.some((state) => state.name === "backing-off" && state.because.includes("the welcome")),
  ).toBe(true);
});

test("a hub's retry-after is waited for", async () => {
  const hub = await testHub({ welcome: () => undefined });
  const worker = testWorker({ address: hub.address });
  (await hub.stream(1)).fail(status.RESOURCE_EXHAUSTED, "STREAM_LIMIT", { retry_after: "7s" });
  await until(() => worker.states.some(({ name }) => name === "backing-off"), "the pause");
  expect(worker.states.at(-1)).toMatchObject({ name: "backing-off", delayMs: 7000 });
});

test("attachments that do not last are retried after ever longer delays", async () => {
  const hub = await ScriptedHub.start();
  hub.stop();
  const worker = testWorker(
    { address: hub.address },
    { tuning: { backoff: { firstMs: 8, maxMs: 64, resetAfterMs: 60_000 } } },
  );
  const delays = () =>
    worker.states.flatMap((state) => (state.name === "backing-off" ? [state.delayMs] : []));
  await until(() => delays().length >= 6, "six failures");
  for (const [i, bound] of [8, 16, 32, 64, 64, 64].entries()) {
    expect(delays()[i]).toBeGreaterThanOrEqual(bound / 2);
    expect(delays()[i]).toBeLessThanOrEqual(bound);
  }
});

/** Answers each hello with limits that put every result into a report of its own. */
const oneByOne: Script["welcome"] = ({ held }) => ({
  sessionId: "session-1",
  limits: { reportResultsMax: 1 },
  held: held.map(({ jobId, fencingToken }) => ({ jobId, fencingToken, kept: true })),
});

test("results wait for a hub that does not read, and go to the next one when it never does", async () => {
  const hub = await testHub({ welcome: oneByOne });
  const running = gate();
  const worker = testWorker({
    address: hub.address,
    concurrency: 40,
    handlers: {
      work: async () => {
        await running.opened;
        return Buffer.alloc(200_000, 1);
      },
    },
  });
  const first = await hub.live();
  first.lease(...Array.from({ length: 40 }, (_, i) => ({ jobId: `job-${i}` })));
  await until(() => worker.stats().running === 40, "the handlers");
  first.pause();
  running.open();
  await until(() => worker.stats().running === 0, "the results");
  first.cut();
  const second = await hub.live(2);
  await until(() => worker.stats().committed === 40, "every verdict");
  expect(second.results).toHaveLength(40);
});

test("results wait for a hub that reads slowly, and none is lost or repeated on the stream", async () => {
  const hub = await testHub({ heartbeatMs: 1_000, welcome: oneByOne });
  const worker = testWorker({
    address: hub.address,
    concurrency: 60,
    handlers: { work: () => Buffer.alloc(200_000, 1) },
  });
  const stream = await hub.live();
  stream.pause();
  stream.lease(...Array.from({ length: 60 }, (_, i) => ({ jobId: `job-${i}` })));
  await until(() => worker.stats().running + worker.stats().waiting === 0, "the results");
  stream.resume();
  await until(() => worker.stats().committed === 60, "every verdict");
  expect(new Set(stream.reported).size).toBe(60);
  expect(stream.reported).toHaveLength(60);
});
