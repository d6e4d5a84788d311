import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { InvalidOptionsError, JournalLockedError } from "../src/index.js";
import type { JournalDisk } from "../src/journal/journal-disk.js";
import { localDisk } from "../src/journal/journal-disk.js";
import { resultText, until } from "./scripted-hub.js";
import { gate, testDirectory, testHub, testWorker } from "./test-worker.js";
import { WorkerProcess } from "./worker-process.js";

test("a killed worker reports its unreported result after a restart, before new work, and does not run the job again (D5)", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const journal = testDirectory();
  const first = new WorkerProcess({ address: hub.address, journal });
  const before = await hub.live();
  before.lease({ jobId: "finished", kind: "quick" }, { jobId: "running", kind: "wait" });
  await until(() => before.results.length === 1, "the result, which is in the journal by now");
  first.kill("SIGKILL");
  await first.exited();

  const second = new WorkerProcess({ address: hub.address, journal });
  const after = await hub.live(2);
  expect(after.hello).toMatchObject({
    sessionId: "session-1",
    held: [{ jobId: "finished", fencingToken: 1n }],
  });
  expect(after.hello?.held).toHaveLength(1);
  await until(() => after.creditMessages === 1, "the request for new work");
  expect(resultText(after.results[0])).toBe("result of finished");
  const order = after.received
    .map(({ message }) => message.case)
    .filter((name) => name === "report" || name === "credit");
  expect(order).toEqual(["report", "credit"]);
  after.verdict(Verdict.DUPLICATE, "finished");
  second.kill("SIGTERM");
  expect((await second.exited()).code).toBe(0);
  expect(second.lines).toEqual([expect.stringMatching(/^done .*"duplicate":1/)]);
  expect(second.stderr).toContain("results of an earlier run without a verdict: 1");
});

test("a journal whose last write was cut short gives what is whole, and the worker says what it dropped", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const journal = testDirectory();
  const first = testWorker({ address: hub.address, journal }, { tuning: { verdictsWithinMs: 20 } });
  const before = await hub.live();
  before.lease({ jobId: "a" });
  await until(() => before.results.length === 1, "the result");
  await first.stop();
  const file = join(journal, "journal");
  writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from([50, 0, 0, 0, 1, 2, 3, 4, 2, 9, 9])]));

  const second = testWorker({ address: hub.address, journal });
  const after = await hub.live(2);
  await until(() => after.reported.includes("a"), "the result again");
  expect(second.events.find(({ event }) => event === "journal-torn")?.fields).toEqual({ tornBytes: 11 });
  after.verdict(Verdict.COMMITTED, "a");
});

test("a full disk stops new leases but no results, and the journal comes back by itself", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const journal = testDirectory();
  let isFull = false;
  const noSpace = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  const disk: JournalDisk = {
    ...localDisk,
    async create(path) {
      if (isFull) throw noSpace;
      const file = await localDisk.create(path);
      return { ...file, write: (...args) => (isFull ? Promise.reject(noSpace) : file.write(...args)) };
    },
  };
  const gates = { a: gate(), c: gate() };
  const worker = testWorker(
    {
      address: hub.address,
      journal,
      concurrency: 3,
      prefetch: 0,
      handlers: { work: ({ id }) => gates[id as "a" | "c"].opened },
    },
    { disk },
  );
  const stream = await hub.live();
  await until(() => stream.credit.jobs === 3, "the grant");
  stream.lease({ jobId: "a" }, { jobId: "c" });
  await until(() => worker.stats().running === 2, "the handlers");
  isFull = true;
  gates.a.open("kept in memory");
  await until(() => stream.reported.includes("a"), "the result");
  expect(worker.events.find(({ event }) => event === "journal-stalled")?.message).toContain("ENOSPC");
  expect(stream.credit.jobs).toBe(1);
  stream.lease({ jobId: "b" });
  await until(() => stream.released.length === 1, "the release of what comes all the same");
  expect(stream.released).toEqual(["b waiting"]);
  expect(stream.credit.jobs).toBe(0);
  gates.c.open("kept as well");
  await until(() => stream.reported.includes("c"), "the next result");

  isFull = false;
  await until(() => stream.credit.jobs === 3, "credit again");
  expect(worker.events.some(({ event }) => event === "journal-resumed")).toBe(true);
  const bytes = readFileSync(join(journal, "journal"), "latin1");
  expect(bytes).toContain("kept in memory");
  expect(bytes).toContain("kept as well");
  stream.verdict(Verdict.COMMITTED, "a", "c");
  await until(() => worker.stats().committed === 2, "the verdicts");
});

test("two workers cannot share a journal: the second is told who has it", async () => {
  const hub = await testHub();
  const journal = testDirectory();
  const child = new WorkerProcess({ address: hub.address, journal });
  await hub.live();
  expect(() => testWorker({ address: hub.address, journal })).toThrow(JournalLockedError);
  expect(() => testWorker({ address: hub.address, journal })).toThrow(/is in use by process \d+/);
  child.kill("SIGKILL");
  await child.exited();
  testWorker({ address: hub.address, journal });
  await hub.live(2);
});

test("a file that is no journal is left alone, and the worker does not start on it", async () => {
  const hub = await testHub();
  const journal = testDirectory();
  writeFileSync(join(journal, "journal"), "somebody's diary, not to be touched");
  const worker = testWorker({ address: hub.address, journal });
  await expect(worker.done).rejects.toThrow("does not begin as a Holdfast journal");
  expect(readFileSync(join(journal, "journal"), "utf8")).toBe("somebody's diary, not to be touched");
});

test("a journal directory that cannot be made is an error in the options", async () => {
  const file = join(testDirectory(), "file");
  writeFileSync(file, "");
  expect(() => testWorker({ address: "127.0.0.1:1", journal: join(file, "journal") })).toThrow(
    InvalidOptionsError,
  );
});
