import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, onTestFinished, test, vi } from "vitest";
import { TrustWindowError } from "../src/index.js";
import { type HubStream, resultText, until } from "./scripted-hub.js";
import { abortable, gate, testDirectory, testHub, testWorker } from "./test-worker.js";
import { WorkerProcess } from "./worker-process.js";

test("heartbeats carry a nonce each, and echo the hub's newest", async () => {
  const hub = await testHub({ heartbeatMs: 20 });
  testWorker({ address: hub.address });
  const stream = await hub.live();
  await until(() => stream.all("heartbeat").length >= 4, "four heartbeats");
  const [first, second, third] = stream.all("heartbeat");
  expect([first?.nonce, second?.nonce, third?.nonce]).toEqual([1n, 2n, 3n]);
  expect(first?.echo).toBe(0n);
  expect(third?.echo).toBeGreaterThan(0n);
});

test("a hub that echoes no heartbeat is left, though it sends leases", async () => {
  const hub = await testHub({ heartbeatMs: 30, ttlMs: 30_000, echoes: false });
  const worker = testWorker({ address: hub.address });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => first.results.length === 1, "the result");
  await hub.live(2);
  const because = worker.states.find((state) => state.name === "backing-off")?.because;
  expect(because).toBe("the hub has echoed no heartbeat for 90 ms");
});

test("a mute hub is left time after time, also when a timer fires a little early", async () => {
  const hub = await testHub({ heartbeatMs: 10, ttlMs: 30_000, echoes: false });
  testWorker({ address: hub.address });
  await hub.live(25);
});

test("a hub that echoes what was never sent is as good as mute", async () => {
  const hub = await testHub({ heartbeatMs: 30, ttlMs: 30_000, echoes: false });
  const worker = testWorker({ address: hub.address });
  const first = await hub.live();
  first.echo(1_000n);
  await hub.live(2);
  const because = worker.states.find((state) => state.name === "backing-off")?.because;
  expect(because).toBe("the hub has echoed no heartbeat for 90 ms");
});

test("a hub that echoes but does not renew the session is left once the leases may be gone", async () => {
  const hub = await testHub({ heartbeatMs: 50, ttlMs: 600, timeLeftMs: 100 });
  const { reasons, handler } = abortable();
  const worker = testWorker({ address: hub.address, handlers: { work: handler } });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => reasons.length === 1, "the abort");
  expect(reasons[0]).toBeInstanceOf(TrustWindowError);
  const second = await hub.live(2);
  expect(second.hello?.held).toEqual([]);
  const because = worker.states.find((state) => state.name === "backing-off")?.because;
  expect(because).toBe("the session was not renewed for so long that leases may be gone");
});

test("on a machine that wakes from sleep the trust window has passed, and handlers are aborted (D6)", async () => {
  const hub = await testHub({ ttlMs: 30_000, heartbeatMs: 10_000 });
  const { reasons, handler } = abortable();
  const worker = testWorker({ address: hub.address, handlers: { work: handler } });
  const first = await hub.live();
  first.lease({ jobId: "a" });
  await until(() => worker.stats().running === 1, "the handler");
  const wallClock = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => wallClock() + 60_000);
  onTestFinished(() => void vi.restoreAllMocks());
  await until(() => reasons.length === 1, "the abort");
  expect(reasons[0]).toBeInstanceOf(TrustWindowError);
  expect((await hub.live(2)).hello?.held).toEqual([]);
});

test("past the trust window the handler of a job with policy stop is aborted, and its result not reported", async () => {
  const hub = await testHub({ ttlMs: 400, heartbeatMs: 50 });
  const { reasons, handler } = abortable();
  const worker = testWorker({ address: hub.address, concurrency: 1, handlers: { work: handler } });
  const first = await hub.live();
  first.lease({ jobId: "running" }, { jobId: "waiting" });
  await until(() => worker.stats().waiting === 1, "both leases");
  hub.stop();
  await until(() => reasons.length === 1, "the abort");
  expect(reasons[0]).toBeInstanceOf(TrustWindowError);
  await until(() => worker.stats().running + worker.stats().waiting === 0, "the end of both");
  await hub.listen();
  const second = await hub.live(2);
  await until(() => second.credit.jobs === 2, "the credit of both");
  expect(second.hello).toMatchObject({ sessionId: "session-1", held: [] });
  expect(second.results).toEqual([]);
});

test("past the trust window a job with policy finish-and-report goes on, and its result is reported", async () => {
  const hub = await testHub({ ttlMs: 300, heartbeatMs: 50 });
  const running = gate();
  const worker = testWorker({
    address: hub.address,
    concurrency: 1,
    handlers: { work: running.handler },
  });
  const first = await hub.live();
  const disconnectPolicy = DisconnectPolicy.FINISH_AND_REPORT;
  first.lease({ jobId: "running", disconnectPolicy }, { jobId: "waiting", disconnectPolicy });
  await until(() => worker.stats().waiting === 1, "both leases");
  hub.stop();
  await until(() => worker.stats().waiting === 0, "the release of what had not begun");
  running.open("finished");
  await until(() => worker.stats().running === 0, "the end of the handler");
  await hub.listen();
  const second = await hub.live(2);
  await until(() => second.results.length === 1, "the result");
  expect(second.hello?.held).toMatchObject([{ jobId: "running" }]);
  expect(second.reported).toEqual(["running"]);
  expect(running.aborts).toEqual([]);
});

test("finish-and-report ends at the disconnect limit", async () => {
  const hub = await testHub({ ttlMs: 200, heartbeatMs: 50 });
  const { reasons, handler } = abortable();
  const worker = testWorker({ address: hub.address, handlers: { work: handler } });
  const first = await hub.live();
  first.lease({
    jobId: "a",
    disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT,
    disconnectLimit: { seconds: 0n, nanos: 150_000_000 },
  });
  await until(() => worker.stats().running === 1, "the handler");
  hub.stop();
  const stoppedAt = performance.now();
  await until(() => reasons.length === 1, "the end of the limit");
  expect(performance.now() - stoppedAt).toBeGreaterThan(150);
  expect(reasons[0]).toBeInstanceOf(TrustWindowError);
});

test("a lease that outlived a silence is in doubt no more: its disconnect limit is over", async () => {
  // The silence is noticed after 150 ms, the trust window passes after 300: while the next hello waits.
  const hub = await testHub({ ttlMs: 600, heartbeatMs: 50 });
  const running = gate();
  const { reasons, handler } = abortable();
  const worker = testWorker({
    address: hub.address,
    handlers: { work: (job) => Promise.race([handler(job), running.opened]) },
  });
  const first = await hub.live();
  const disconnectPolicy = DisconnectPolicy.FINISH_AND_REPORT;
  const disconnectLimit = { seconds: 0n, nanos: 400_000_000 };
  first.lease({ jobId: "a", disconnectPolicy, disconnectLimit });
  await until(() => worker.stats().running === 1, "the handler");
  hub.script.echoes = false;
  const { welcome } = hub.script;
  hub.script.welcome = () => undefined;
  const doubt = "the session was not renewed for so long that leases may be gone";
  await until(
    () => worker.states.some((state) => state.name === "backing-off" && state.because === doubt),
    "the end of the trust window",
  );
  Object.assign(hub.script, { echoes: true, welcome });
  await until(() => worker.state().name === "live", "the next hub");
  const next = hub.streams.at(-1) as HubStream;
  await until(() => next.all("heartbeat").length > 10, "more time than the limit");
  running.open("kept");
  await until(() => next.results.length === 1, "the result");
  expect(reasons).toEqual([]);
});

test("a worker that was stopped for a while takes in what its hub said meanwhile before it judges the hub", async () => {
  const hub = await testHub({ heartbeatMs: 1_000, ttlMs: 30_000 });
  const worker = new WorkerProcess({ address: hub.address, journal: testDirectory() });
  const stream = await hub.live();
  await until(() => stream.all("heartbeat").length > 2, "heartbeats");
  const { echoes } = hub.script;
  hub.script.echoes = false;
  const unanswered = stream.all("heartbeat").length;
  await until(() => stream.all("heartbeat").length > unanswered, "a heartbeat");
  worker.kill("SIGSTOP");
  stream.echo(stream.all("heartbeat").at(-1)?.nonce ?? 0n);
  hub.script.echoes = echoes;
  // Longer than the three heartbeats after which a hub that echoes nothing is given up.
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  worker.kill("SIGCONT");
  const before = stream.all("heartbeat").length;
  await until(() => stream.all("heartbeat").length > before + 3, "more heartbeats");
  expect(hub.streams).toHaveLength(1);
  expect(worker.stderr).not.toContain("not attached");
});

test("a handler may outlive the session's time to live many times over while heartbeats are echoed (D6)", async () => {
  const hub = await testHub({ ttlMs: 200, heartbeatMs: 40 });
  const running = gate();
  const { reasons, handler } = abortable();
  testWorker({
    address: hub.address,
    handlers: { work: (job) => Promise.race([handler(job), running.opened]) },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => stream.all("heartbeat").length > 25, "five lives of the session");
  running.open("kept");
  await until(() => stream.results.length === 1, "the result");
  expect(reasons).toEqual([]);
  expect(hub.streams).toHaveLength(1);
});

test("a handler that blocks the event loop for longer than the session lives keeps its lease", async () => {
  const hub = await testHub({ ttlMs: 400, heartbeatMs: 50 });
  const worker = new WorkerProcess({ address: hub.address, journal: testDirectory() });
  const stream = await hub.live();
  stream.lease({ jobId: "a", kind: "block", payload: Buffer.from("1500") });
  await worker.said("started a");
  const before = stream.all("heartbeat").length;
  await until(() => stream.results.length === 1, "the result");
  expect(stream.all("heartbeat").length - before).toBeGreaterThan(10);
  expect(resultText(stream.results[0])).toBe("blocked, and still mine");
  expect(hub.streams).toHaveLength(1);
  expect(worker.lines).toEqual(["started a"]);
});

test("without a thread of its own a blocking handler silences the session, and it has to resume", async () => {
  const hub = await testHub({ ttlMs: 400, heartbeatMs: 50 });
  const worker = new WorkerProcess({ address: hub.address, journal: false, thread: false });
  const first = await hub.live();
  first.lease({ jobId: "a", kind: "block", payload: Buffer.from("1500") });
  await worker.said("started a");
  const second = await hub.live(2);
  expect(second.hello?.sessionId).toBe("session-1");
});
