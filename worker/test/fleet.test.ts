// A worker with a list of hubs: where it goes, when it moves on, and what it takes along.
import { status } from "@grpc/grpc-js";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { shuffled } from "../src/session/address-ring.js";
import { type ScriptedHub, until } from "./scripted-hub.js";
import { gate, type TestWorker, testHub, testWorker } from "./test-worker.js";

const threeHubs = () => Promise.all([testHub(), testHub(), testHub()]);
const addressesOf = (hubs: readonly ScriptedHub[]) => hubs.map(({ address }) => address);
const names = (worker: TestWorker) => worker.states.map(({ name }) => name);
const drainNotice = { case: "drain", value: { grace: { seconds: 5n } } } as const;

test("workers with the same list spread over its hubs, and those of a lost hub over all that are left", async () => {
  const hubs = await threeHubs();
  const order = (addresses: readonly string[]) => shuffled(addresses, Math.random);
  const workers = Array.from({ length: 40 }, () => testWorker({ addresses: addressesOf(hubs) }, { order }));
  const areLive = () => workers.every((worker) => worker.state().name === "live");
  await until(areLive, "all workers");
  const [lost, ...left] = hubs as [ScriptedHub, ...ScriptedHub[]];
  for (const hub of hubs) expect(hub.streams.length).toBeGreaterThan(0);
  const before = left.map((hub) => hub.streams.length);
  lost.stop();
  await until(() => left.every((hub, i) => hub.streams.length > (before[i] as number)), "workers at both");
  await until(areLive, "all workers again");
});

test("a hub that cannot be reached, or is stopping, is passed over without a pause", async () => {
  const [gone, stopping, there] = await threeHubs();
  gone.stop();
  stopping.script.welcome = () => undefined;
  const worker = testWorker({ addresses: addressesOf([gone, stopping, there]) });
  (await stopping.stream(1)).fail(status.UNAVAILABLE, "HUB_STOPPING");
  await there.live();
  expect(names(worker)).not.toContain("backing-off");
});

test("a worker pauses only after every hub of its list has failed", async () => {
  const hubs = await threeHubs();
  for (const hub of hubs) hub.stop();
  const worker = testWorker({ addresses: addressesOf(hubs) });
  await until(() => names(worker).filter((name) => name === "backing-off").length >= 2, "two pauses");
  const round = ["connecting", "connecting", "connecting", "backing-off"];
  expect(names(worker).slice(0, 8)).toEqual([...round, ...round]);
});

test("a worker whose hub dies resumes its session at another with what it holds, at once (D6)", async () => {
  const [one, two, three] = await threeHubs();
  const running = gate();
  const worker = testWorker({
    addresses: addressesOf([one, two, three]),
    handlers: { work: () => running.opened },
  });
  const first = await one.live();
  first.lease({ jobId: "a" });
  await until(() => worker.stats().running === 1, "the handler");
  one.stop();
  const second = await two.live();
  expect(second.hello).toMatchObject({ sessionId: "session-1", held: [{ jobId: "a" }] });
  running.open();
  await until(() => worker.stats().committed === 1, "the verdict");
  expect(names(worker)).not.toContain("backing-off");
});

test("a worker whose hub leaves reaches another first, passing over those that are not there", async () => {
  const [one, gone, three] = await threeHubs();
  gone.stop();
  const running = gate();
  let isAborted = false;
  const worker = testWorker({
    addresses: addressesOf([one, gone, three]),
    handlers: {
      work: ({ signal }) => {
        signal.addEventListener("abort", () => {
          isAborted = true;
        });
        return running.opened;
      },
    },
  });
  const first = await one.live();
  first.lease({ jobId: "a" });
  await until(() => worker.stats().running === 1, "the handler");
  first.send(drainNotice);
  const moved = await three.live();
  expect(moved.hello).toMatchObject({ sessionId: "session-1", held: [{ jobId: "a" }] });
  running.open();
  await until(() => worker.stats().committed === 1, "the verdict");
  expect(moved.reported).toEqual(["a"]);
  expect(isAborted).toBe(false);
  expect(names(worker).filter((name) => name === "connecting")).toHaveLength(2);
});

test("leases and verdicts that a leaving hub still sends are taken along: the hello comes after the goodbye", async () => {
  const [one, two] = await Promise.all([testHub({ verdict: () => undefined }), testHub()]);
  const running = gate();
  const worker = testWorker({
    addresses: addressesOf([one, two]),
    handlers: { work: ({ id }) => (id === "done" ? "result" : running.opened) },
  });
  const first = await one.live();
  first.lease({ jobId: "done" }, { jobId: "held" });
  await until(() => first.results.length === 1, "the result");
  first.send(drainNotice);
  first.verdict(Verdict.COMMITTED, "done");
  first.lease({ jobId: "late" });
  const second = await two.live();
  expect(second.hello?.held.map(({ jobId }) => jobId)).toEqual(["held", "late"]);
  expect(first.isEnded).toBe(true);
  running.open();
  await until(() => worker.stats().committed === 3, "every verdict");
  expect(second.reported).toEqual(["held", "late"]);
});

test("a worker that finds no other hub leaves in order all the same, and keeps what it holds", async () => {
  const [one, gone] = await Promise.all([testHub(), testHub()]);
  gone.stop();
  const running = gate();
  const worker = testWorker({
    addresses: addressesOf([one, gone]),
    handlers: { work: () => running.opened },
  });
  const first = await one.live();
  first.lease({ jobId: "a" });
  await until(() => worker.stats().running === 1, "the handler");
  first.send(drainNotice);
  await until(() => first.isEnded, "the goodbye");
  const again = await one.live(2);
  expect(again.hello).toMatchObject({ sessionId: "session-1", held: [{ jobId: "a" }] });
  running.open();
  await until(() => worker.stats().committed === 1, "the verdict");
});
