import { status } from "@grpc/grpc-js";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { ScriptedHub, until } from "./scripted-hub.js";
import { gate, testHub, testWorker } from "./test-worker.js";

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
