import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { until } from "../../test/scripted-hub.js";
import { ResultBatch } from "../wire/result-batch.js";
import { Journal, type JournaledResult, recoverJournal } from "./journal.js";
import { type JournalDisk, localDisk } from "./journal-disk.js";

type TestResult = JournaledResult & { readonly jobId: string };

/** A journal over a directory of its own, with a disk that can be made to fail. */
function journal({ compactBytes = 4 << 20 } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-journal-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const open = new Set<TestResult>();
  const disk = { fails: false, writes: 0, files: 0, stalls: 0, isReady: false };
  const failing: JournalDisk = {
    ...localDisk,
    async create(path) {
      if (disk.fails) throw new Error("ENOSPC");
      disk.files++;
      const file = await localDisk.create(path);
      return {
        ...file,
        async write(bytes, position) {
          disk.writes++;
          if (!disk.fails) return file.write(bytes, position);
          await file.write(bytes.subarray(0, bytes.length >> 1), position);
          throw new Error("ENOSPC");
        },
      };
    },
  };
  const start = () =>
    new Journal(failing, "", {
      directory,
      compactBytes,
      retryMs: 5,
      openResults: () => open,
      onReady: () => {
        disk.isReady = true;
      },
      onStalled: () => {
        disk.stalls++;
        disk.isReady = false;
      },
    });
  return { directory, open, disk, start, names: async () => recovered(directory) };
}

async function recovered(directory: string) {
  const { sessionId, results, tornBytes } = await recoverJournal(localDisk, directory);
  return { sessionId, jobs: results.map(({ jobId }) => jobId), tornBytes };
}

/** A batch of results, as the runner makes them. */
function batchOf(open: Set<TestResult>, ...jobIds: string[]) {
  const batch = new ResultBatch();
  for (const [i, id] of jobIds.entries()) {
    const bytes = Buffer.from(id, "latin1");
    batch.addSuccess(i, { bytes, jobIdStart: 0, jobIdEnd: bytes.length, token: 1 }, "x".repeat(50), 50, "");
  }
  const { bytes: report, ends } = batch.take();
  const results = jobIds.map((jobId, i): TestResult => {
    return {
      jobId,
      report,
      start: i === 0 ? 0 : (ends[i - 1] as number),
      end: ends[i] as number,
      ordinal: -1,
    };
  });
  for (const result of results) open.add(result);
  return { report, results };
}

function written(kept: Journal, batch: { report: Uint8Array; results: TestResult[] }): Promise<void> {
  return new Promise((resolve) => kept.write(batch, resolve));
}

test("what was written is read back, without what was settled, under the newest session", async () => {
  const { open, start, names } = journal();
  const kept = start();
  kept.setSession("session-1");
  const first = batchOf(open, "a", "b", "c");
  await written(kept, first);
  kept.setSession("session-2");
  await written(kept, batchOf(open, "d"));
  const [, b] = first.results;
  if (b !== undefined) {
    open.delete(b);
    kept.settle([b]);
  }
  await kept.close();
  expect(await names()).toEqual({ sessionId: "session-2", jobs: ["a", "c", "d"], tornBytes: 0 });
});

test("batches that come while one is being written share the next write", async () => {
  const { open, start, disk } = journal();
  const kept = start();
  await written(kept, batchOf(open, "first"));
  const before = disk.writes;
  const all = Array.from({ length: 20 }, (_, i) => written(kept, batchOf(open, `job-${i}`)));
  await Promise.all(all);
  expect(disk.writes - before).toBeLessThanOrEqual(2);
  await kept.close();
});

test("a journal that has grown is begun anew with the open results only", async () => {
  const { open, start, disk, directory, names } = journal({ compactBytes: 2_000 });
  const kept = start();
  kept.setSession("session-1");
  await written(kept, batchOf(open, "stays"));
  for (let i = 0; i < 100; i++) {
    const passing = batchOf(open, `job-${i}`);
    await written(kept, passing);
    for (const result of passing.results) open.delete(result);
    kept.settle(passing.results);
  }
  await kept.close();
  expect(disk.files).toBeGreaterThan(2);
  expect(statSync(join(directory, "journal")).size).toBeLessThan(2_500);
  expect(readdirSync(directory)).toEqual(["journal"]);
  const { sessionId, jobs } = await names();
  expect(sessionId).toBe("session-1");
  expect(jobs).toContain("stays");
});

test("a journal of open results only is not begun anew over and over", async () => {
  const { open, start, disk } = journal({ compactBytes: 1_000 });
  const kept = start();
  for (let i = 0; i < 200; i++) await written(kept, batchOf(open, `job-${i}`));
  await kept.close();
  expect(disk.files).toBeLessThan(8);
});

test("a write that fails is made good once the disk has room, with all that came meanwhile", async () => {
  const { open, start, disk, names } = journal();
  const kept = start();
  await written(kept, batchOf(open, "before"));
  disk.fails = true;
  const during = [written(kept, batchOf(open, "during-1"))];
  await until(() => disk.stalls >= 2, "two attempts");
  during.push(written(kept, batchOf(open, "during-2")));
  expect((await names()).jobs).toEqual(["before"]);
  disk.fails = false;
  await Promise.all(during);
  expect(disk.isReady).toBe(true);
  await written(kept, batchOf(open, "after"));
  await kept.close();
  expect((await names()).jobs).toEqual(["before", "during-1", "during-2", "after"]);
});

test("a journal that cannot be written at all closes all the same", async () => {
  const { open, start, disk } = journal();
  disk.fails = true;
  const kept = start();
  kept.write(batchOf(open, "a"), () => {});
  await until(() => disk.stalls > 0, "the failure");
  await kept.close();
});
