import { join } from "node:path";
import { type ScannedResult, scanReport } from "../wire/report-scan.js";
import { asBuffer } from "../wire/wire-cursor.js";
import type { JournalDisk, JournalFile } from "./journal-disk.js";
import { decodeJournal, encodeRecord, encodeSession, encodeSettled, journalMagic } from "./journal-record.js";

/** Verdicts are written down at the latest after this. */
const settleWithinMs = 50;

/**
 * The worker's memory on disk (D5): results are written and fsynced here before they are sent, and stay until their
 * verdict came, so that a worker which crashed in between reports them instead of running the jobs again.
 *
 *     ready ──write──► writing ──written──► ready          one synced write for all that waited
 *                        │  ▲                                past a size: a new file with the open results only
 *                  fails │  │ retry, by writing a new file
 *                        ▼  │
 *                      stalled                               any ── close ──► closed
 *
 * One writer, so records never interleave. After a failed write nothing is known of the file's end, so the way back
 * is always a new file, renamed over the old one once it is durable. The file is bounded: by `compactBytes`, or
 * twice what the open results took when it was begun, whichever is larger. While stalled results are kept in memory;
 * they are bounded by the leases held, because the worker takes no new ones.
 */
export class Journal {
  readonly #path: string;
  readonly #disk: JournalDisk;
  readonly #options: JournalOptions;
  #state: JournalState = { name: "stalled", retry: undefined };
  #pending: PendingBatch[] = [];
  #settled: number[] = [];
  #sessionId: string;
  #isSettleDue = false;
  #settleTimer: NodeJS.Timeout | undefined;
  #isSessionWritten = false;
  #nextOrdinal = 0;

  constructor(disk: JournalDisk, sessionId: string, options: JournalOptions) {
    this.#path = join(options.directory, "journal");
    this.#disk = disk;
    this.#options = options;
    this.#sessionId = sessionId;
    this.#wake();
  }

  /** Writes a batch of results; `written` is called once they survive a crash. */
  write(batch: JournalBatch, written: () => void): void {
    this.#pending.push({ batch, written });
    this.#wake();
  }

  /**
   * The verdicts of these results came: they will not be read back. That is written with the next results, or after a
   * while; losing it only repeats a report.
   */
  settle(results: readonly JournaledResult[]): void {
    for (const result of results) if (result.ordinal >= 0) this.#settled.push(result.ordinal);
    this.#settleTimer ??= setTimeout(() => {
      this.#settleTimer = undefined;
      this.#isSettleDue = true;
      this.#wake();
    }, settleWithinMs);
  }

  /** The session to resume after a crash; empty for none. */
  setSession(sessionId: string): void {
    if (sessionId === this.#sessionId) return;
    this.#sessionId = sessionId;
    this.#isSessionWritten = false;
    this.#wake();
  }

  /** Writes what still waits, if the disk lets it, and closes the file. */
  async close(): Promise<void> {
    clearTimeout(this.#settleTimer);
    this.#isSettleDue = this.#settled.length > 0;
    this.#wake();
    while (this.#state.name === "writing") await this.#state.done;
    const state = this.#state;
    this.#state = { name: "closed" };
    if (state.name === "stalled") clearTimeout(state.retry);
    if (state.name === "ready") await state.file.close().catch(() => {});
  }

  #hasWork(): boolean {
    return this.#pending.length > 0 || this.#isSettleDue || !this.#isSessionWritten;
  }

  /** Starts writing unless that is going on, has to wait for a retry, or there is nothing to write. */
  #wake(): void {
    const state = this.#state;
    if (state.name === "ready" && this.#hasWork()) {
      const compact = state.size > state.compactAtBytes;
      this.#begin(state.file, compact ? () => this.#rewrite(state.file) : () => this.#append(state));
    } else if (state.name === "stalled" && state.retry === undefined) {
      this.#begin(undefined, () => this.#rewrite(undefined));
    }
  }

  #begin(file: JournalFile | undefined, write: () => Promise<ReadyState>): void {
    const done = write().then(
      (ready) => {
        this.#state = ready;
        this.#wake();
      },
      async (error: unknown) => {
        await file?.close().catch(() => {});
        this.#stall(error);
      },
    );
    this.#state = { name: "writing", done };
  }

  #stall(error: unknown): void {
    const retry = setTimeout(() => {
      this.#state = { name: "stalled", retry: undefined };
      this.#wake();
    }, this.#options.retryMs);
    this.#state = { name: "stalled", retry };
    this.#options.onStalled(error);
  }

  async #append(state: ReadyState): Promise<ReadyState> {
    const batches = this.#pending;
    const settled = this.#settled;
    const parts: Buffer[] = [];
    this.#pending = [];
    this.#settled = [];
    this.#isSettleDue = false;
    if (!this.#isSessionWritten) parts.push(encodeSession(this.#sessionId));
    this.#isSessionWritten = true;
    if (settled.length > 0) parts.push(encodeSettled(settled));
    for (const { batch } of batches) {
      for (const result of batch.results) result.ordinal = this.#nextOrdinal++;
      parts.push(encodeRecord("results", [batch.report]));
    }
    const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    try {
      await state.file.write(bytes, state.size);
    } catch (error) {
      this.#pending = [...batches, ...this.#pending];
      throw error;
    }
    for (const { written } of batches) written();
    return { ...state, size: state.size + bytes.length };
  }

  /** Begins a new file with the session and every open result, those still waiting to be written among them. */
  async #rewrite(old: JournalFile | undefined): Promise<ReadyState> {
    const batches = this.#pending;
    const parts: Uint8Array[] = [journalMagic(), encodeSession(this.#sessionId)];
    this.#pending = [];
    this.#settled = [];
    this.#isSettleDue = false;
    this.#isSessionWritten = true;
    this.#nextOrdinal = 0;
    for (const result of this.#options.openResults()) {
      result.ordinal = this.#nextOrdinal++;
      parts.push(encodeRecord("results", [result.report.subarray(result.start, result.end)]));
    }
    const bytes = Buffer.concat(parts);
    const next = `${this.#path}.new`;
    let file: JournalFile | undefined;
    try {
      file = await this.#disk.create(next);
      await file.write(bytes, 0);
      await this.#disk.replace(next, this.#path);
    } catch (error) {
      await file?.close().catch(() => {});
      this.#pending = [...batches, ...this.#pending];
      throw error;
    }
    await old?.close().catch(() => {});
    for (const { written } of batches) written();
    this.#options.onReady();
    return {
      name: "ready",
      file,
      size: bytes.length,
      compactAtBytes: Math.max(this.#options.compactBytes, 2 * bytes.length),
    };
  }
}

/** A result that has no verdict yet: `report` from `start` to `end` is a holdfast.v1.Report of it alone. */
export type JournaledResult = {
  readonly report: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Its number in the current file; -1 before it is written. Kept by the journal. */
  ordinal: number;
};

export type JournalBatch = {
  readonly report: Uint8Array;
  readonly results: readonly JournaledResult[];
};

export type JournalOptions = {
  readonly directory: string;
  /** A larger file is begun anew. */
  readonly compactBytes: number;
  /** Between attempts to write again after a failure. */
  readonly retryMs: number;
  /** Everything accepted whose verdict has not come, written or not. */
  readonly openResults: () => Iterable<JournaledResult>;
  /** A new file is in place: everything open is durable. */
  readonly onReady: () => void;
  /** Writing failed; it will be tried again. */
  readonly onStalled: (error: unknown) => void;
};

type PendingBatch = { readonly batch: JournalBatch; readonly written: () => void };

type ReadyState = {
  readonly name: "ready";
  readonly file: JournalFile;
  readonly size: number;
  readonly compactAtBytes: number;
};

type JournalState =
  | ReadyState
  | { readonly name: "writing"; readonly done: Promise<void> }
  | { readonly name: "stalled"; readonly retry: NodeJS.Timeout | undefined }
  | { readonly name: "closed" };

/** A result that had no verdict yet. */
export type RecoveredResult = ScannedResult & { readonly report: Uint8Array };

/** What an earlier life of the worker left behind. */
export type RecoveredJournal = {
  readonly sessionId: string;
  readonly results: readonly RecoveredResult[];
  /** Bytes at the end that were no whole record: a write that the crash cut short. */
  readonly tornBytes: number;
};

/**
 * Reads the journal of a directory.
 *
 * @throws JournalFormatError when the file is something else
 */
export async function recoverJournal(disk: JournalDisk, directory: string): Promise<RecoveredJournal> {
  const bytes = await disk.read(join(directory, "journal"));
  if (bytes === undefined) return { sessionId: "", results: [], tornBytes: 0 };
  const { records, intactBytes } = decodeJournal(bytes);
  let sessionId = "";
  const results: RecoveredResult[] = [];
  const settled = new Set<number>();
  for (const record of records) {
    switch (record.kind) {
      case "session":
        sessionId = record.sessionId;
        break;
      case "results":
        for (const result of scanReport(asBuffer(record.report)))
          results.push({ ...result, report: record.report });
        break;
      case "settled":
        for (const ordinal of record.ordinals) settled.add(ordinal);
        break;
    }
  }
  return {
    sessionId,
    results: results.filter((_, ordinal) => !settled.has(ordinal)),
    tornBytes: bytes.length - intactBytes,
  };
}
