import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Fifo } from "../fifo.js";
import { HoldfastError } from "../grpc/holdfast-error.js";
import {
  DrainTimeoutError,
  JobFailure,
  LeaseLostError,
  RevokedError,
  TrustWindowError,
} from "../job-errors.js";
import type { LossCause, Port, ToRunner, ToSession } from "../port.js";
import { scanLease } from "../wire/lease-scan.js";
import { ResultBatch } from "../wire/result-batch.js";
import { asBuffer } from "../wire/wire-cursor.js";
import type { Handler } from "./job-context.js";
import { encodeValue, failureOutcome, revokedOutcome } from "./job-outcome.js";
import { type JobOutlet, LeasedJob } from "./leased-job.js";

/** A batch of results goes to the session when it is this large, or else at the end of the tick. */
const batchResultsMax = 1_000;
const batchBytesMax = 256 << 10;

/** Handlers started without a break; timers and sockets of the application get their turn in between. */
const startsPerTurnMax = 256;

/** Progress is passed on this often: the hub records it a few times a second at most. */
const progressIntervalMs = 200;

/**
 * Runs handlers, `concurrency` at a time; leases beyond that wait in the order in which they came.
 *
 *     waiting ──► running ──returned, threw──► ended (result)
 *        │           │ lease lost
 *        │           ▼
 *        │        abandoned ──returned, threw──► ended (release)
 *        └── lost, revoked, draining ──────────► ended (release)
 *
 * Every lease is answered once: with a result, or with a release when there is nothing to report.
 */
export class JobRunner implements JobOutlet {
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #concurrency: number;
  readonly #port: Port<ToSession, ToRunner>;
  readonly #jobs = new Map<number, LeasedJob>();
  readonly #waiting = new Fifo<LeasedJob>();
  readonly #results = new ResultBatch();
  readonly #progress = new Map<LeasedJob, { percent: number; message: string }>();
  #runningCount = 0;
  #failedCount = 0;
  #isFlushDue = false;
  #startsLeft = startsPerTurnMax;
  #progressTimer: NodeJS.Timeout | undefined;
  #limits = { resultBytesMax: Number.POSITIVE_INFINITY, checkpointBytesMax: Number.POSITIVE_INFINITY };
  #drain: Drain = { state: "no" };

  constructor(handlers: ReadonlyMap<string, Handler>, concurrency: number, port: Port<ToSession, ToRunner>) {
    this.#handlers = handlers;
    this.#concurrency = concurrency;
    this.#port = port;
  }

  get counts(): { running: number; waiting: number; failed: number } {
    return { running: this.#runningCount, waiting: this.#waiting.length, failed: this.#failedCount };
  }

  setLimits(limits: { resultBytesMax: number; checkpointBytesMax: number }): void {
    this.#limits = limits;
  }

  // Leases come and go

  receive(bytes: Uint8Array, firstRef: number, places: Uint32Array): void {
    const buffer = asBuffer(bytes);
    for (let i = 0; i * 2 < places.length; i++) {
      const scanned = scanLease(buffer, places[i * 2] as number, places[i * 2 + 1] as number);
      const job = new LeasedJob(firstRef + i, buffer, scanned, this);
      this.#jobs.set(job.ref, job);
      this.#waiting.push(job);
    }
    if (this.#drain.state === "no") this.#startWaiting();
    else this.#releaseWaiting(() => true);
  }

  lost(refs: readonly number[], cause: LossCause): void {
    const reason = lossReason(cause);
    const waiting = new Set<LeasedJob>();
    for (const ref of refs) {
      const job = this.#jobs.get(ref);
      if (job?.phase === "running") job.abandon(reason);
      else if (job?.phase === "waiting") waiting.add(job);
    }
    if (waiting.size > 0) this.#releaseWaiting((job) => waiting.has(job));
  }

  /** Nobody knows whether these leases stand: what has not started must not. */
  doubtful(refs: readonly number[]): void {
    const doubted = new Set(refs);
    this.#releaseWaiting((job) => doubted.has(job.ref));
  }

  revoked(ref: number, revoked: NonNullable<LeasedJob["revoked"]>): void {
    const job = this.#jobs.get(ref);
    if (job === undefined) return;
    job.revoked ??= revoked;
    if (job.phase === "running") return job.abort(new RevokedError(revoked.cause, revoked.message));
    if (job.phase !== "waiting") return;
    this.#waiting.remove((waiting) => waiting === job);
    this.#endRevoked(job, revoked, false);
  }

  #releaseWaiting(belongs: (job: LeasedJob) => boolean): void {
    const released = this.#waiting.remove(belongs);
    for (const job of released) this.#forget(job);
    if (released.length > 0) this.#postReleased(released, false);
    this.#finishIfDrained();
  }

  // Handlers

  #startWaiting(): void {
    while (this.#runningCount < this.#concurrency && this.#startsLeft > 0) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      if (--this.#startsLeft === 0) {
        setImmediate(() => {
          this.#startsLeft = startsPerTurnMax;
          this.#startWaiting();
        });
      }
      this.#start(job);
    }
  }

  #start(job: LeasedJob): void {
    this.#runningCount++;
    job.start();
    const handler = this.#handlers.get(job.kind);
    if (handler === undefined) {
      return this.#failed(
        job,
        new JobFailure("NO_HANDLER", `this worker has no handler for kind "${job.kind}"`),
      );
    }
    let returned: unknown;
    try {
      returned = handler(job);
    } catch (error) {
      return this.#failed(job, error);
    }
    if (!isThenable(returned)) return this.#returned(job, returned);
    returned.then(
      (value) => {
        this.#returned(job, value);
        this.#startWaiting();
      },
      (error) => {
        this.#failed(job, error);
        this.#startWaiting();
      },
    );
  }

  #returned(job: LeasedJob, value: unknown): void {
    if (job.phase !== "running") return this.#endAbandoned(job);
    try {
      const { body, length, contentType } = encodeValue(value);
      const { resultBytesMax } = this.#limits;
      if (length > resultBytesMax) throw resultTooLarge(length, resultBytesMax);
      this.#results.addSuccess(job.ref, identity(job), body, length, contentType);
    } catch (error) {
      return this.#failed(job, error);
    }
    this.#end(job);
  }

  #failed(job: LeasedJob, error: unknown): void {
    if (job.phase !== "running") return this.#endAbandoned(job);
    if (job.revoked !== undefined && !(error instanceof JobFailure))
      return this.#endRevoked(job, job.revoked, true);
    this.#failedCount++;
    this.#results.addOutcome(job.ref, identity(job), failureOutcome(error));
    this.#end(job);
  }

  #endRevoked(
    job: LeasedJob,
    { cause, message }: NonNullable<LeasedJob["revoked"]>,
    isStarted: boolean,
  ): void {
    const outcome = revokedOutcome(cause, message);
    if (outcome === "release") {
      this.#postReleased([job], isStarted);
      if (isStarted) this.#runningCount--;
      this.#forget(job);
      return this.#finishIfDrained();
    }
    this.#results.addOutcome(job.ref, identity(job), outcome);
    this.#end(job, isStarted);
  }

  /** Its result is in the batch. */
  #end(job: LeasedJob, isStarted = true): void {
    if (isStarted) this.#runningCount--;
    this.#forget(job);
    if (this.#results.count >= batchResultsMax || this.#results.byteLength >= batchBytesMax) this.#flush();
    else this.#flushSoon();
    this.#finishIfDrained();
  }

  /** The lease was gone before the handler was over; now its place is free. */
  #endAbandoned(job: LeasedJob): void {
    this.#runningCount--;
    if (job.phase !== "abandoned") return;
    this.#forget(job);
    this.#postReleased([job], true);
    this.#finishIfDrained();
  }

  #forget(job: LeasedJob): void {
    job.end();
    this.#jobs.delete(job.ref);
    if (this.#progress.size > 0) this.#progress.delete(job);
  }

  // To the session

  #flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    setImmediate(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#results.count === 0) return;
    const encoded = this.#results.take();
    this.#port.post({ type: "results", ...encoded }, [encoded.bytes.buffer]);
  }

  #postReleased(jobs: readonly LeasedJob[], isStarted: boolean): void {
    this.#port.post({ type: "released", refs: jobs.map((job) => job.ref), isStarted });
  }

  // What running jobs say

  checkpointBytesMax(): number {
    return this.#limits.checkpointBytesMax;
  }

  checkpoint(job: LeasedJob, sequence: number, state: Uint8Array): void {
    this.#port.post({ type: "checkpoint", ref: job.ref, sequence, state });
  }

  checkpointSaved(ref: number, sequence: number, verdict: Verdict, refusal: string): void {
    const job = this.#jobs.get(ref);
    if (job === undefined) return;
    if (verdict === Verdict.REFUSED) return job.checkpointAnswered(sequence, checkpointRefused(refusal));
    if (verdict !== Verdict.STALE) return job.checkpointAnswered(sequence, undefined);
    job.abandon(new LeaseLostError("a checkpoint was refused as stale: the job was cancelled or taken away"));
  }

  progress(job: LeasedJob, percent: number, message: string): void {
    this.#progress.set(job, { percent, message });
    this.#progressTimer ??= setTimeout(() => {
      this.#progressTimer = undefined;
      const items = [...this.#progress].map(([{ ref }, said]) => ({ ref, ...said }));
      this.#progress.clear();
      if (items.length > 0) this.#port.post({ type: "progress", items });
    }, progressIntervalMs);
  }

  // Leaving

  /** Starts no more handlers, gives back what waits, and lets what runs finish within `timeoutMs`. */
  drain(timeoutMs: number): void {
    if (this.#drain.state !== "no") return;
    const timer = setTimeout(() => this.#abortRunning(timeoutMs), timeoutMs);
    this.#drain = { state: "draining", timer };
    this.#port.post({ type: "drain" });
    this.#releaseWaiting(() => true);
  }

  #abortRunning(timeoutMs: number): void {
    const reason = new DrainTimeoutError(
      `the worker stops, and the handler has not ended within ${timeoutMs} ms`,
    );
    const running = [...this.#jobs.values()];
    for (const job of running) job.abort(reason);
    // Handlers that end at once because of that are too late all the same: the answer for their leases is a release.
    for (const job of running) this.#forget(job);
    if (running.length > 0) this.#postReleased(running, true);
    this.#finishIfDrained();
  }

  #finishIfDrained(): void {
    if (this.#drain.state !== "draining" || this.#jobs.size > 0) return;
    clearTimeout(this.#drain.timer);
    this.#drain = { state: "finished" };
    this.#flush();
    this.#port.post({ type: "finish" });
  }

  /** The session is over: whatever still runs cannot be reported any more. */
  close(): void {
    if (this.#drain.state === "draining") clearTimeout(this.#drain.timer);
    this.#drain = { state: "finished" };
    clearTimeout(this.#progressTimer);
    this.#waiting.clear();
    for (const job of this.#jobs.values()) {
      job.abort(new LeaseLostError("the worker has closed"));
      job.end();
    }
    this.#jobs.clear();
  }
}

type Drain =
  | { readonly state: "no" }
  | { readonly state: "draining"; readonly timer: NodeJS.Timeout }
  /** Every lease has been answered. */
  | { readonly state: "finished" };

function identity(job: LeasedJob) {
  const { bytes, jobIdStart, jobIdEnd } = job;
  return { bytes, jobIdStart, jobIdEnd, fencingToken: job.places.fencingToken };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function lossReason(cause: LossCause): Error {
  switch (cause.kind) {
    case "trust-window":
      return new TrustWindowError("no hub was heard for so long that the lease may be gone");
    case "taken":
      return new LeaseLostError(cause.message);
    case "revoked":
      return new RevokedError(cause.cause, cause.message);
  }
}

function resultTooLarge(length: number, lengthMax: number): JobFailure {
  const message = `the result of ${length} bytes is larger than the hub takes: ${lengthMax}`;
  return new JobFailure("RESULT_REFUSED", message, { permanent: true });
}

function checkpointRefused(refusal: string): HoldfastError {
  const separator = refusal.indexOf(": ");
  const reason = refusal.slice(0, Math.max(0, separator)) || "REFUSED";
  return new HoldfastError({
    reason,
    message: `the checkpoint was refused: ${refusal}`,
    metadata: {},
    grpcCode: 3,
    retryAfterMs: undefined,
  });
}
