import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Fifo } from "../fifo.js";
import { DrainTimeoutError, JobFailure, LeaseLostError, RevokedError } from "../job-errors.js";
import type { LossCause, Port, ToRunner, ToSession } from "../port.js";
import { scanLease } from "../wire/lease-scan.js";
import { asBuffer } from "../wire/wire-cursor.js";
import type { Handler } from "./job-context.js";
import { encodeValue, failureOutcome, revokedOutcome } from "./job-outcome.js";
import { LeasedJob } from "./leased-job.js";
import { RunnerOutbox } from "./runner-outbox.js";
import { checkpointRefused, lossReason, resultTooLarge } from "./stop-reasons.js";

/** Handlers started without a break; timers and sockets of the application get their turn in between. */
const startsPerTurnMax = 256;

/**
 * Runs handlers, `concurrency` at a time; leases beyond that wait in the order in which they came.
 *
 *     waiting ──► running ──returned, threw──► ended (result)
 *        │           ├──waits for a signal──► suspended (release)
 *        │           │ lease lost
 *        │           ▼
 *        │        abandoned ──returned, threw──► ended (release)
 *        └── lost, revoked, draining ──────────► ended (release)
 *
 * Every lease is answered once: with a result, or with a release when there is nothing to report.
 */
export class JobRunner {
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #concurrency: number;
  readonly #outbox: RunnerOutbox;
  /** Every lease that has not been answered. */
  readonly #jobs = new Map<number, LeasedJob>();
  readonly #waiting = new Fifo<LeasedJob>();
  #runningCount = 0;
  #failedCount = 0;
  #startsLeft = startsPerTurnMax;
  #drain: Drain = { state: "no" };

  constructor(
    handlers: ReadonlyMap<string, Handler>,
    concurrency: number,
    port: Port<ToSession, ToRunner>,
    openProducer: ConstructorParameters<typeof RunnerOutbox>[1],
  ) {
    this.#handlers = handlers;
    this.#concurrency = concurrency;
    this.#outbox = new RunnerOutbox(port, openProducer);
  }

  get counts(): { running: number; waiting: number; failed: number } {
    return { running: this.#runningCount, waiting: this.#waiting.length, failed: this.#failedCount };
  }

  setLimits(limits: RunnerOutbox["limits"]): void {
    this.#outbox.limits = limits;
  }

  // Leases come and go

  receive(bytes: Uint8Array, firstRef: number, places: Uint32Array): void {
    const buffer = asBuffer(bytes);
    for (let i = 0; i * 2 < places.length; i++) {
      const scanned = scanLease(buffer, places[i * 2] as number, places[i * 2 + 1] as number);
      const job = new LeasedJob(firstRef + i, buffer, scanned, this.#outbox);
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

  checkpointSaved(ref: number, sequence: number, verdict: Verdict, refusal: string): void {
    const job = this.#jobs.get(ref);
    if (job === undefined) return;
    if (verdict === Verdict.REFUSED) return job.checkpointAnswered(sequence, checkpointRefused(refusal));
    if (verdict !== Verdict.STALE) return job.checkpointAnswered(sequence, undefined);
    job.abandon(new LeaseLostError("a checkpoint was refused as stale: the job was cancelled or taken away"));
  }

  effectAnswered(ref: number, verdict: Uint8Array): void {
    this.#jobs.get(ref)?.effectAnswered(verdict);
  }

  waitAnswered(ref: number, verdict: Uint8Array): void {
    this.#jobs.get(ref)?.waitAnswered(verdict);
  }

  /** The job waits for a signal, without a lease: its handler is not waited for, and its place is free. */
  suspended(ref: number): void {
    const job = this.#jobs.get(ref);
    if (job?.phase !== "running") return;
    job.suspend();
    this.#runningCount--;
    this.#jobs.delete(ref);
    this.#outbox.forget(job);
    this.#outbox.released([job], true);
    this.#startWaiting();
    this.#finishIfDrained();
  }

  #releaseWaiting(belongs: (job: LeasedJob) => boolean): void {
    const released = this.#waiting.remove(belongs);
    for (const job of released) this.#forget(job);
    if (released.length > 0) this.#outbox.released(released, false);
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
      const failure = new JobFailure("NO_HANDLER", `this worker has no handler for kind "${job.kind}"`);
      return this.#failed(job, failure);
    }
    let returned: unknown;
    let pending: Promise<unknown> | undefined;
    try {
      returned = handler(job);
      // Adopted, a thenable settles once and throws nothing, whoever wrote it.
      if (isThenable(returned)) pending = Promise.resolve(returned);
    } catch (error) {
      return this.#failed(job, error);
    }
    if (pending === undefined) return this.#endWhenSettled(job, { returned });
    pending.then(
      (value) => {
        this.#endWhenSettled(job, { returned: value });
        this.#startWaiting();
      },
      (error) => {
        this.#endWhenSettled(job, { threw: error });
        this.#startWaiting();
      },
    );
  }

  /**
   * A handler that did not wait for its effects has not ended before they have, nor before what it published is stored:
   * one that fails fails it. A handler that failed need not wait for what it published.
   */
  #endWhenSettled(
    job: LeasedJob,
    handler: { readonly returned: unknown } | { readonly threw: unknown },
  ): void {
    const unsettled = job.effectsSettled() ?? ("threw" in handler ? undefined : job.publishingSettled());
    if (unsettled === undefined) {
      if ("threw" in handler) this.#failed(job, handler.threw);
      else this.#returned(job, handler.returned);
      return;
    }
    const settled = unsettled.then(
      () => handler,
      (error) => ("threw" in handler ? handler : { threw: error }),
    );
    void settled.then((ended) => {
      this.#endWhenSettled(job, ended);
      this.#startWaiting();
    });
  }

  #returned(job: LeasedJob, value: unknown): void {
    if (job.phase !== "running") return this.#endAbandoned(job);
    try {
      const encoded = encodeValue(value);
      const { resultBytesMax } = this.#outbox.limits;
      if (encoded.length > resultBytesMax) throw resultTooLarge(encoded.length, resultBytesMax);
      this.#outbox.success(job, encoded);
    } catch (error) {
      return this.#failed(job, error);
    }
    this.#runningCount--;
    this.#forget(job);
    this.#finishIfDrained();
  }

  #failed(job: LeasedJob, error: unknown): void {
    if (job.phase !== "running") return this.#endAbandoned(job);
    if (job.revoked !== undefined && !isJobFailure(error)) {
      this.#runningCount--;
      return this.#endRevoked(job, job.revoked, true);
    }
    this.#failedCount++;
    this.#runningCount--;
    this.#outbox.outcome(job, failureOutcome(error));
    this.#forget(job);
    this.#finishIfDrained();
  }

  #endRevoked(
    job: LeasedJob,
    { cause, message }: NonNullable<LeasedJob["revoked"]>,
    isStarted: boolean,
  ): void {
    const outcome = revokedOutcome(cause, message);
    if (outcome === "release") this.#outbox.released([job], isStarted);
    else this.#outbox.outcome(job, outcome);
    this.#forget(job);
    this.#finishIfDrained();
  }

  /** The lease was gone before the handler was over; now its place is free. */
  #endAbandoned(job: LeasedJob): void {
    if (job.phase === "suspended") return;
    this.#runningCount--;
    if (job.phase !== "abandoned") return;
    this.#outbox.released([job], true);
    this.#forget(job);
    this.#finishIfDrained();
  }

  /** Its lease has been answered. */
  #forget(job: LeasedJob): void {
    job.end();
    this.#jobs.delete(job.ref);
    this.#outbox.forget(job);
  }

  // Leaving

  /** Starts no more handlers, gives back what waits, and lets what runs finish within `timeoutMs`. */
  drain(timeoutMs: number): void {
    if (this.#drain.state !== "no") return;
    const timer = setTimeout(() => this.#abortRunning(timeoutMs), timeoutMs);
    this.#drain = { state: "draining", timer };
    this.#outbox.drain();
    this.#releaseWaiting(() => true);
  }

  /** What the handlers still return after this is too late: the answer for their leases is a release. */
  #abortRunning(timeoutMs: number): void {
    const reason = new DrainTimeoutError(
      `the worker stops, and the handler has not ended within ${timeoutMs} ms`,
    );
    const running = [...this.#jobs.values()];
    for (const job of running) {
      job.abort(reason);
      this.#forget(job);
    }
    if (running.length > 0) this.#outbox.released(running, true);
    this.#finishIfDrained();
  }

  #finishIfDrained(): void {
    if (this.#drain.state !== "draining" || this.#jobs.size > 0) return;
    clearTimeout(this.#drain.timer);
    this.#drain = { state: "finished" };
    this.#outbox.finish();
  }

  /** The session is over: whatever still runs cannot be reported any more. */
  close(): void {
    if (this.#drain.state === "draining") clearTimeout(this.#drain.timer);
    this.#drain = { state: "finished" };
    this.#waiting.clear();
    this.#outbox.close();
    for (const job of this.#jobs.values()) job.abandon(new LeaseLostError("the worker has closed"));
    this.#jobs.clear();
  }
}

type Drain =
  | { readonly state: "no" }
  | { readonly state: "draining"; readonly timer: NodeJS.Timeout }
  /** Every lease has been answered. */
  | { readonly state: "finished" };

/** Of a proxy that was revoked one cannot even ask what it is. */
function isJobFailure(error: unknown): boolean {
  try {
    return error instanceof JobFailure;
  } catch {
    return false;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
