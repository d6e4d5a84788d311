import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { type Refusal, RefusalSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Fifo } from "../fifo.js";
import type { Journal, JournaledResult, RecoveredResult } from "../journal/journal.js";
import type { VerdictCounts } from "../port.js";
import { ResultBatch } from "../wire/result-batch.js";
import type { ScannedVerdict } from "../wire/verdict-scan.js";
import { leaseKey } from "./lease-table.js";

/**
 * Keeps every result from the moment its handler ended until its verdict came (D5), and knows which of them the
 * current stream has not carried yet.
 *
 *     accepted ──journal──► sendable ──sent──► sendable ──COMMITTED, DUPLICATE, STALE──► (gone)
 *                              ▲                  │
 *                              └── a new stream ──┘        REFUSED: a failure takes the result's place, once
 *
 * Without a journal, and while it cannot be written, a result is sendable at once: holding finished work back would
 * not make it any safer.
 */
export type OpenResult = JournaledResult & {
  readonly jobId: string;
  readonly fencingToken: number;
  /** It says that the result proper was refused. */
  readonly isRefusalNotice: boolean;
  isSendable: boolean;
};

/** The result that lies in `report` from `start` to `end`, before anything has happened to it. */
export function newResult(
  jobId: string,
  fencingToken: number,
  report: Uint8Array,
  start: number,
  end: number,
): OpenResult {
  return { jobId, fencingToken, report, start, end, ordinal: -1, isRefusalNotice: false, isSendable: false };
}

/** What the verdicts of one message did. */
export type Settlement = {
  readonly counts: VerdictCounts;
  readonly refusals: readonly Refused[];
};

/** A result that the hub would not have. `isHopeless`: not even as a failure. */
export type Refused = {
  readonly jobId: string;
  readonly fencingToken: number;
  readonly refusal: Refusal;
  readonly isHopeless: boolean;
};

export class ResultKeeper {
  readonly #open = new Map<string, OpenResult>();
  readonly #queue = new Fifo<OpenResult>();
  readonly #journal: Journal | undefined;
  #openBytes = 0;
  #writesThrough: boolean;

  /** @param recovered results of an earlier life; they are on disk already */
  constructor(
    recovered: readonly RecoveredResult[],
    openJournal: (openResults: () => Iterable<OpenResult>) => Journal | undefined,
  ) {
    for (const result of recovered) {
      this.#keep({ ...result, ordinal: -1, isRefusalNotice: false, isSendable: true });
    }
    this.#journal = openJournal(() => this.#open.values());
    this.#writesThrough = this.#journal !== undefined;
  }

  get openCount(): number {
    return this.#open.size;
  }

  get openBytes(): number {
    return this.#openBytes;
  }

  has(key: string): boolean {
    return this.#open.has(key);
  }

  open(): IterableIterator<OpenResult> {
    return this.#open.values();
  }

  /** Takes results in; `kept` is called when they survive a crash as far as this worker can do. */
  accept(results: readonly OpenResult[], report: Uint8Array, kept: () => void): void {
    for (const result of results) this.#keep(result);
    if (this.#journal === undefined) {
      this.#release(results);
      kept();
      return;
    }
    this.#journal.write({ report, results }, () => {
      this.#release(results);
      kept();
    });
    if (!this.#writesThrough) this.#release(results);
  }

  #keep(result: OpenResult): void {
    this.#open.set(leaseKey(result.jobId, result.fencingToken), result);
    this.#openBytes += result.end - result.start;
  }

  #release(results: readonly OpenResult[]): void {
    for (const result of results) {
      if (result.isSendable) continue;
      result.isSendable = true;
      this.#queue.push(result);
    }
  }

  /** The journal cannot be written: what waits for it, and what comes, is sent without. */
  bypassJournal(): void {
    this.#writesThrough = false;
    this.#release([...this.#open.values()]);
  }

  /** The journal is back. */
  restoreJournal(): void {
    this.#writesThrough = this.#journal !== undefined;
  }

  /** A new stream: whatever has no verdict goes out again, oldest first. */
  resend(): void {
    this.#queue.clear();
    for (const result of this.#open.values()) if (result.isSendable) this.#queue.push(result);
  }

  /** Parts that make up the next holdfast.v1.Report; undefined when nothing waits to be sent. */
  nextReport(resultsMax: number, bytesMax: number): Uint8Array[] | undefined {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    let report: Uint8Array | undefined;
    let start = 0;
    let end = 0;
    for (let count = 0; count < resultsMax && bytes < bytesMax; count++) {
      const result = this.#queue.shift();
      if (result === undefined) break;
      if (result.report !== report || result.start !== end) {
        if (report !== undefined) parts.push(report.subarray(start, end));
        report = result.report;
        start = result.start;
      }
      end = result.end;
      bytes += result.end - result.start;
    }
    if (report === undefined) return undefined;
    parts.push(report.subarray(start, end));
    return parts;
  }

  /** Takes verdicts in. One on a result that is not open was said before. */
  settle(bytes: Buffer, verdicts: readonly ScannedVerdict[]): Settlement {
    const counts = { committed: 0, duplicate: 0, stale: 0, refused: 0 };
    const settled: OpenResult[] = [];
    const refusals: Refused[] = [];
    for (const scanned of verdicts) {
      const key = leaseKey(scanned.jobId, scanned.fencingToken);
      const result = this.#open.get(key);
      if (result === undefined) continue;
      this.#drop(key, result);
      settled.push(result);
      switch (scanned.verdict) {
        case Verdict.COMMITTED:
          counts.committed++;
          break;
        case Verdict.DUPLICATE:
          counts.duplicate++;
          break;
        case Verdict.STALE:
          counts.stale++;
          break;
        default:
          counts.refused++;
          refusals.push(
            this.#refuse(
              result,
              fromBinary(RefusalSchema, bytes.subarray(scanned.refusalStart, scanned.refusalEnd)),
            ),
          );
      }
    }
    this.#journal?.settle(settled);
    return { counts, refusals };
  }

  /** The hub says that it had a result of this lease before: it is final. False when none is open. */
  settleReported(jobId: string, fencingToken: number): boolean {
    const key = leaseKey(jobId, fencingToken);
    const result = this.#open.get(key);
    if (result === undefined) return false;
    this.#drop(key, result);
    this.#journal?.settle([result]);
    return true;
  }

  #drop(key: string, result: OpenResult): void {
    this.#open.delete(key);
    this.#openBytes -= result.end - result.start;
  }

  #refuse(result: OpenResult, refusal: Refusal): Refused {
    const { jobId, fencingToken } = result;
    if (result.isRefusalNotice) return { jobId, fencingToken, refusal, isHopeless: true };
    const report = refusalReport(jobId, fencingToken, refusal);
    const notice = newResult(jobId, fencingToken, report, 0, report.length);
    this.accept([{ ...notice, isRefusalNotice: true }], report, () => {});
    return { jobId, fencingToken, refusal, isHopeless: false };
  }
}

/** The permanent failure that is reported in place of a refused result. */
function refusalReport(jobId: string, fencingToken: number, refusal: Refusal): Uint8Array {
  const outcome = create(OutcomeSchema, {
    outcome: {
      case: "failure",
      value: {
        code: "RESULT_REFUSED",
        message: `${refusal.reason}: ${refusal.message}`.slice(0, 1000),
        permanent: true,
      },
    },
  });
  const id = Buffer.from(jobId, "latin1");
  const batch = new ResultBatch();
  const identity = { bytes: id, jobIdStart: 0, jobIdEnd: id.length, fencingToken };
  batch.addOutcome(0, identity, toBinary(OutcomeSchema, outcome));
  return batch.take().bytes;
}
