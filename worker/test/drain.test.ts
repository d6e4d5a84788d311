import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, onTestFinished, test } from "vitest";
import { DrainTimeoutError } from "../src/index.js";
import { until } from "./scripted-hub.js";
import { abortable, gate, testDirectory, testHub, testWorker, workerAtWork } from "./test-worker.js";
import { WorkerProcess } from "./worker-process.js";

test("a worker that drains gives back what waits, finishes what runs, and leaves after the last verdict", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const running = gate();
  const worker = testWorker({
    address: hub.address,
    concurrency: 1,
    drainTimeoutMs: 5_000,
    handlers: { work: () => running.opened },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "running" }, { jobId: "waiting" });
  await until(() => worker.stats().waiting === 1, "both leases");
  let isDone = false;
  void worker.stop().then(() => {
    isDone = true;
  });
  await until(() => stream.released.length === 1, "the release");
  expect(stream.all("drain")).toHaveLength(1);
  expect(stream.released).toEqual(["waiting waiting"]);
  running.open();
  await until(() => stream.results.length === 1, "the result");
  expect(stream.isEnded).toBe(false);
  expect(isDone).toBe(false);
  stream.verdict(Verdict.COMMITTED, "running");
  await worker.done;
  expect(stream.isEnded).toBe(true);
  expect(stream.creditMessages).toBe(1);
  expect(worker.state()).toEqual({ name: "closed" });
  expect(worker.stats()).toMatchObject({ committed: 1, running: 0, waiting: 0 });
});

test("leases that arrive while the worker drains go straight back", async () => {
  const { running, worker, stream } = await workerAtWork({ drainTimeoutMs: 5_000 });
  void worker.stop();
  await until(() => stream.all("drain").length === 1, "the drain");
  stream.lease({ jobId: "late" });
  await until(() => stream.released.length === 1, "the release");
  expect(stream.released).toEqual(["late waiting"]);
  running.open();
  await worker.done;
});

test("a handler that outlasts the drain is aborted and its job given back as started", async () => {
  const slow = abortable();
  const { worker, stream } = await workerAtWork({ drainTimeoutMs: 50, handlers: { work: slow.handler } });
  await worker.stop();
  expect(slow.reasons).toEqual([expect.any(DrainTimeoutError)]);
  expect(stream.released).toEqual(["running started"]);
  expect(stream.results).toEqual([]);
});

test("a drain survives the loss of the stream: the next hub hears of it and gets the result", async () => {
  const { hub, running, worker, stream: first } = await workerAtWork({ drainTimeoutMs: 5_000 });
  void worker.stop();
  await until(() => first.all("drain").length === 1, "the drain");
  first.cut();
  const second = await hub.live(2);
  await until(() => second.all("drain").length === 1, "the drain again");
  expect(second.creditMessages).toBe(0);
  running.open();
  await worker.done;
  expect(second.reported).toEqual(["running"]);
});

test("a worker without a hub stops at once when it owes nothing", async () => {
  const hub = await testHub();
  hub.stop();
  const worker = testWorker(
    { address: hub.address },
    { tuning: { backoff: { firstMs: 60_000, maxMs: 60_000, resetAfterMs: 1 } } },
  );
  await until(() => worker.state().name === "backing-off", "the pause");
  await worker.stop();
  expect(worker.state().name).toBe("closed");
});

test("results whose verdict does not come in time stay in the journal, and the worker says so", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const journal = testDirectory();
  const worker = testWorker({ address: hub.address, journal }, { tuning: { verdictsWithinMs: 100 } });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => first.results.length === 1, "the result");
  await worker.stop();
  expect(worker.events.at(-1)).toMatchObject({ level: "warn", event: "closed", fields: { open: 1 } });

  const next = testWorker({ address: hub.address, journal });
  const second = await hub.live(2);
  await until(() => second.results.length === 1, "the result again");
  expect(second.hello).toMatchObject({ sessionId: "session-1", held: [{ jobId: "a" }] });
  second.verdict(Verdict.COMMITTED, "a");
  await until(() => next.stats().committed === 1, "the verdict");
});

test("a session that was closed in order is not resumed by the next start", async () => {
  const hub = await testHub();
  const journal = testDirectory();
  const worker = testWorker({ address: hub.address, journal });
  await hub.live();
  await worker.stop();
  testWorker({ address: hub.address, journal });
  const second = await hub.live(2);
  expect(second.hello?.sessionId).toBe("");
});

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s drains, and the process ends by itself with nothing left open",
  async (signal) => {
    const hub = await testHub();
    const worker = new WorkerProcess({ address: hub.address, journal: testDirectory(), drainTimeoutMs: 200 });
    const stream = await hub.live();
    stream.lease({ jobId: "a", kind: "quick" }, { jobId: "b", kind: "wait" });
    await worker.said("started b");
    await until(() => stream.results.length === 1, "the result");
    worker.kill(signal);
    expect(await worker.exited()).toEqual({ code: 0, signal: null });
    expect(worker.lines).toEqual([
      "started a",
      "started b",
      "aborted b DrainTimeoutError",
      expect.stringMatching(/^done .*"committed":1/),
    ]);
    expect(stream.released).toEqual(["b started"]);
    expect(worker.stderr).toContain(`${signal}: draining`);
  },
);

test("a process whose worker was stopped before it found a hub ends by itself", async () => {
  const worker = new WorkerProcess({ address: "127.0.0.1:1", journal: testDirectory() });
  await until(() => worker.stderr.includes("not attached"), "the first attempt");
  worker.kill("SIGTERM");
  expect(await worker.exited()).toEqual({ code: 0, signal: null });
});

test("a process whose hub takes connections and never speaks ends by itself", async () => {
  const connections: Socket[] = [];
  const mute = createServer((socket) => connections.push(socket.on("error", () => {})));
  await once(mute.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    for (const socket of connections) socket.destroy();
    mute.close();
  });
  const { port } = mute.address() as AddressInfo;
  const worker = new WorkerProcess({ address: `127.0.0.1:${port}`, journal: testDirectory() });
  await until(() => connections.length === 1, "the connection");
  worker.kill("SIGTERM");
  expect(await worker.exited()).toEqual({ code: 0, signal: null });
});

test("a second signal ends the process at once, and says so", async () => {
  const hub = await testHub();
  const worker = new WorkerProcess({
    address: hub.address,
    journal: testDirectory(),
    drainTimeoutMs: 60_000,
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a", kind: "wait" });
  await worker.said("started a");
  worker.kill("SIGTERM");
  await until(() => stream.all("drain").length === 1, "the drain");
  worker.kill("SIGTERM");
  expect(await worker.exited()).toEqual({ code: 143, signal: null });
  expect(worker.stderr).toContain("SIGTERM again: stopped without draining");
});
