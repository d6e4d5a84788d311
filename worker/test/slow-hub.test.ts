import { expect, test } from "vitest";
import { type Script, until } from "./scripted-hub.js";
import { gate, testHub, testWorker } from "./test-worker.js";

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
