import { fromBinary } from "@bufbuild/protobuf";
import { type Refusal, RefusalSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Fifo } from "../fifo.js";
import { Journal, type JournaledResult, type RecoveredJournal } from "../journal/journal.js";
import type { JournalDisk } from "../journal/journal-disk.js";
import type { VerdictCounts } from "../port.js";
import type { ScannedVerdict } from "../wire/verdict-scan.js";
import { leaseKey } from "./lease-table.js";
import { refusalNotice } from "./refusal-notice.js";

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
  readonly key: string;
  readonly jobId: string;
  readonly fencingToken: number;
  /** It says that the result proper was refused. */
  readonly isRefusalNotice: boolean;
  isSendable: boolean;
};

/** The result that lies in `report` from `start` to `end`, before anything has happened to it. */
export function newResult(of: LeaseName, report: Uint8Array, start: number, end: number): OpenResult {
  const { key, jobId, fencingToken } = of;
  return {
    key,
    jobId,
    fencingToken,
    report,
    start,
    end,
    ordinal: -1,
    isRefusalNotice: false,
    isSendable: false,
  };
}

/** Which lease a result belongs to. */
type LeaseName = Pick<OpenResult, "key" | "jobId" | "fencingToken">;

/** What the verdicts of one message did. */
export type Settlement = { readonly counts: VerdictCounts; readonly refusals: readonly Refused[] };

/** A result that the hub would not have. `isHopeless`: not even as a failure. */
export type Refused = {
  readonly jobId: string;
  readonly fencingToken: number;
  readonly refusal: Refusal;
  readonly isHopeless: boolean;
};

/** Where and how the journal is written; `onStalled` and `onResumed` frame the times when it cannot be. */
export type KeeperJournal = {
  readonly disk: JournalDisk;
  readonly directory: string;
  readonly compactBytes: number;
  readonly retryMs: number;
  readonly onStalled: (error: unknown) => void;
  readonly onResumed: () => void;
};

export class ResultKeeper {
  readonly #open = new Map<string, OpenResult>();
  readonly #queue = new Fifo<OpenResult>();
  readonly #journal: Journal | undefined;
  #openBytes = 0;
  #isStalled = false;

  /** @param recovered what an earlier life left; its results are on disk already */
  constructor(recovered: RecoveredJournal, journal: KeeperJournal | undefined) {
    for (const { jobId, fencingToken, report, start, end } of recovered.results) {
      const key = leaseKey(jobId, fencingToken);
      const result = newResult({ key, jobId, fencingToken }, report, start, end);
      this.#keep({ ...result, isSendable: true });
    }
    this.#journal = journal === undefined ? undefined : this.#openJournal(journal, recovered.sessionId);
  }

  get openCount(): number {
    return this.#open.size;
  }

  get openBytes(): number {
    return this.#openBytes;
  }

  /** Results survive a crash of the process. False without a journal, and while it cannot be written. */
  get isDurable(): boolean {
    return this.#journal !== undefined && !this.#isStalled;
  }

  get isStalled(): boolean {
    return this.#isStalled;
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
      return kept();
    }
    this.#journal.write({ report, results }, () => {
      this.#release(results);
      kept();
    });
    if (this.#isStalled) this.#release(results);
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
      // Neighbours in one batch stay together: most reports are a single run of bytes.
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
      const result = this.#open.get(leaseKey(scanned.jobId, scanned.fencingToken));
      if (result === undefined) continue;
      this.#drop(result);
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
        default: {
          counts.refused++;
          const refusal = bytes.subarray(scanned.refusalStart, scanned.refusalEnd);
          refusals.push(this.#refuse(result, fromBinary(RefusalSchema, refusal)));
        }
      }
    }
    this.#journal?.settle(settled);
    return { counts, refusals };
  }

  /** The hub says that it had a result of this lease before: it is final. False when none is open. */
  settleReported(key: string): boolean {
    const result = this.#open.get(key);
    if (result === undefined) return false;
    this.#drop(result);
    this.#journal?.settle([result]);
    return true;
  }

  /** The session to resume after a crash; empty for none. */
  setSession(sessionId: string): void {
    this.#journal?.setSession(sessionId);
  }

  async close(): Promise<void> {
    await this.#journal?.close();
  }

  #keep(result: OpenResult): void {
    this.#open.set(result.key, result);
    this.#openBytes += result.end - result.start;
  }

  #drop(result: OpenResult): void {
    this.#open.delete(result.key);
    this.#openBytes -= result.end - result.start;
  }

  #release(results: Iterable<OpenResult>): void {
    for (const result of results) {
      if (result.isSendable) continue;
      result.isSendable = true;
      this.#queue.push(result);
    }
  }

  #refuse(result: OpenResult, refusal: Refusal): Refused {
    const { jobId, fencingToken } = result;
    if (result.isRefusalNotice) return { jobId, fencingToken, refusal, isHopeless: true };
    const report = refusalNotice(jobId, fencingToken, refusal);
    const notice = { ...newResult(result, report, 0, report.length), isRefusalNotice: true };
    this.accept([notice], report, () => {});
    return { jobId, fencingToken, refusal, isHopeless: false };
  }

  #openJournal({ disk, onStalled, onResumed, ...options }: KeeperJournal, sessionId: string): Journal {
    return new Journal(disk, sessionId, {
      ...options,
      openResults: () => this.#open.values(),
      onStalled: (error) => {
        if (this.#isStalled) return;
        this.#isStalled = true;
        this.#release(this.#open.values());
        onStalled(error);
      },
      onReady: () => {
        if (!this.#isStalled) return;
        this.#isStalled = false;
        onResumed();
      },
    });
  }
}
