import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ReportSchema, Verdict, VerdictsSchema } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { until } from "../../test/scripted-hub.js";
import type { JournalDisk } from "../journal/journal-disk.js";
import { ResultBatch } from "../wire/result-batch.js";
import { scanVerdicts } from "../wire/verdict-scan.js";
import { asBuffer } from "../wire/wire-cursor.js";
import { leaseKey } from "./lease-table.js";
import { newResult, ResultKeeper } from "./result-keeper.js";

const nothing = { sessionId: "", results: [], tornBytes: 0 };

/** A disk on which a write ends when the test says so. */
function slowDisk() {
  const writes: (() => void)[] = [];
  const disk: JournalDisk = {
    read: async () => undefined,
    create: async () => ({
      write: () => new Promise((resolve) => writes.push(resolve)),
      close: async () => {},
    }),
    replace: async () => {},
  };
  return { disk, writes };
}

function keeper(disk?: JournalDisk) {
  const journal = { directory: "nowhere", compactBytes: 1 << 20, retryMs: 5 };
  const quiet = { onStalled: () => {}, onResumed: () => {} };
  return new ResultKeeper(nothing, disk && { disk, ...journal, ...quiet });
}

/** A batch of results, as the runner makes them. */
function batchOf(...jobIds: string[]) {
  const batch = new ResultBatch();
  for (const [i, id] of jobIds.entries()) {
    const bytes = Buffer.from(id, "latin1");
    batch.addSuccess(i, { bytes, jobIdStart: 0, jobIdEnd: bytes.length, token: 1 }, id, id.length, "");
  }
  const { bytes: report, ends } = batch.take();
  const results = jobIds.map((jobId, i) => {
    const start = i === 0 ? 0 : (ends[i - 1] as number);
    return newResult({ key: leaseKey(jobId, 1), jobId, fencingToken: 1 }, report, start, ends[i] as number);
  });
  return { results, report };
}

function accept(kept: ResultKeeper, ...jobIds: string[]): { isKept: boolean } {
  const seen = { isKept: false };
  const { results, report } = batchOf(...jobIds);
  kept.accept(results, report, () => {
    seen.isKept = true;
  });
  return seen;
}

/** The ids in each report that is due. */
function reports(kept: ResultKeeper, resultsMax = 1_000, bytesMax = 1 << 20): string[][] {
  const due: string[][] = [];
  for (
    let parts = kept.nextReport(resultsMax, bytesMax);
    parts;
    parts = kept.nextReport(resultsMax, bytesMax)
  ) {
    due.push(fromBinary(ReportSchema, Buffer.concat(parts)).results.map(({ jobId }) => jobId));
  }
  return due;
}

function settle(kept: ResultKeeper, verdict: Verdict, ...jobIds: string[]) {
  const verdicts = jobIds.map((jobId) => ({
    jobId,
    fencingToken: 1n,
    verdict,
    refusal: { reason: "PAYLOAD_TOO_LARGE", message: "m" },
  }));
  const bytes = asBuffer(toBinary(VerdictsSchema, create(VerdictsSchema, { verdicts })));
  return kept.settle(bytes, scanVerdicts(bytes, 0, bytes.length));
}

test("a result is not sent before it is on disk (D5)", async () => {
  const { disk, writes } = slowDisk();
  const kept = keeper(disk);
  await until(() => writes.length === 1, "the first file");
  writes[0]?.();
  const seen = accept(kept, "a");
  await until(() => writes.length === 2, "the write");
  kept.resend();
  expect(reports(kept)).toEqual([]);
  expect(seen.isKept).toBe(false);
  writes[1]?.();
  await until(() => seen.isKept, "its end");
  expect(reports(kept)).toEqual([["a"]]);
});

test("without a journal a result is sent at once", () => {
  const kept = keeper();
  expect(accept(kept, "a").isKept).toBe(true);
  expect(kept.isDurable).toBe(false);
  expect(reports(kept)).toEqual([["a"]]);
});

test("a result is sent once on a stream, and again on each new one until its verdict came", () => {
  const kept = keeper();
  accept(kept, "a", "b", "c");
  accept(kept, "d");
  expect(reports(kept)).toEqual([["a", "b", "c", "d"]]);
  expect(reports(kept)).toEqual([]);
  expect(settle(kept, Verdict.COMMITTED, "b").counts).toEqual({
    committed: 1,
    duplicate: 0,
    stale: 0,
    refused: 0,
  });
  kept.resend();
  expect(reports(kept)).toEqual([["a", "c", "d"]]);
  settle(kept, Verdict.STALE, "a", "c");
  settle(kept, Verdict.DUPLICATE, "d", "never heard of");
  kept.resend();
  expect(reports(kept)).toEqual([]);
  expect([kept.openCount, kept.openBytes]).toEqual([0, 0]);
});

test("a report holds no more results and bytes than it may, but always one", () => {
  const kept = keeper();
  accept(kept, "a", "b", "c", "d", "e");
  expect(reports(kept, 2)).toEqual([["a", "b"], ["c", "d"], ["e"]]);
  kept.resend();
  expect(reports(kept, 1_000, 1)).toEqual([["a"], ["b"], ["c"], ["d"], ["e"]]);
});

test("a refused result is replaced by a notice once, and then given up", () => {
  const kept = keeper();
  accept(kept, "a");
  reports(kept);
  expect(settle(kept, Verdict.REFUSED, "a").refusals).toMatchObject([{ jobId: "a", isHopeless: false }]);
  expect(kept.openCount).toBe(1);
  expect(reports(kept)).toEqual([["a"]]);
  expect(settle(kept, Verdict.REFUSED, "a").refusals).toMatchObject([{ jobId: "a", isHopeless: true }]);
  expect([kept.openCount, kept.openBytes]).toEqual([0, 0]);
});

test("results of an earlier life are open from the start", () => {
  const { results, report } = batchOf("a", "b");
  const recovered = results.map(({ jobId, fencingToken, start, end }) => ({
    jobId,
    fencingToken,
    start,
    end,
    report,
  }));
  const kept = new ResultKeeper({ sessionId: "s", results: recovered, tornBytes: 0 }, undefined);
  kept.resend();
  expect(reports(kept)).toEqual([["a", "b"]]);
  expect(kept.settleReported(leaseKey("a", 1))).toBe(true);
  expect(kept.settleReported(leaseKey("a", 1))).toBe(false);
  kept.resend();
  expect(reports(kept)).toEqual([["b"]]);
});
