import type { HubLimits, Port, ProgressItem, ToRunner, ToSession } from "../port.js";
import type { HubProducer } from "../signals/producer.js";
import { ResultBatch } from "../wire/result-batch.js";
import type { Spent } from "../wire/spend-field.js";
import type { EncodedValue } from "./job-outcome.js";
import type { JobOutlet, LeasedJob } from "./leased-job.js";

/** A batch of results goes to the session when it is this large, or else at the end of the tick. */
const batchResultsMax = 1_000;
const batchBytesMax = 256 << 10;

/** Progress is passed on this often: the hub records it a few times a second at most. */
const progressIntervalMs = 200;

/** What the runner says to the session, gathered into as few messages as its promptness allows. */
export class RunnerOutbox implements JobOutlet {
  readonly #port: Port<ToSession, ToRunner>;
  readonly #openProducer: (channel: { jobId: string; name: string }, fencingToken: bigint) => HubProducer;
  readonly #results = new ResultBatch();
  readonly #progress = new Map<number, ProgressItem>();
  #isFlushDue = false;
  #progressTimer: NodeJS.Timeout | undefined;

  /** What the hub takes; known once a hub has been heard. */
  limits: HubLimits = {
    resultBytesMax: Number.POSITIVE_INFINITY,
    checkpointBytesMax: Number.POSITIVE_INFINITY,
    effectResultBytesMax: Number.POSITIVE_INFINITY,
  };

  constructor(
    port: Port<ToSession, ToRunner>,
    openProducer: (channel: { jobId: string; name: string }, fencingToken: bigint) => HubProducer,
  ) {
    this.#port = port;
    this.#openProducer = openProducer;
  }

  producer(job: LeasedJob, channel: string): HubProducer {
    return this.#openProducer({ jobId: job.id, name: channel }, job.fencingToken);
  }

  success(job: LeasedJob, { body, length, contentType }: EncodedValue): void {
    this.#results.addSuccess(job.ref, job, body, length, contentType);
    this.#added();
  }

  /** @param outcome the bytes of a holdfast.v1.Outcome */
  outcome(job: LeasedJob, outcome: Uint8Array): void {
    this.#results.addOutcome(job.ref, job, outcome);
    this.#added();
  }

  released(jobs: readonly LeasedJob[], isStarted: boolean): void {
    this.#port.post({ type: "released", refs: jobs.map((job) => job.ref), isStarted });
  }

  checkpoint(job: LeasedJob, sequence: number, state: Uint8Array): void {
    this.#port.post({ type: "checkpoint", ref: job.ref, sequence, state });
  }

  effect(job: LeasedJob, requestId: string, act: Uint8Array): void {
    this.#port.post({ type: "effect", ref: job.ref, requestId, act });
  }

  wait(job: LeasedJob, requestId: string, wait: Uint8Array): void {
    this.#port.post({ type: "wait", ref: job.ref, requestId, wait });
  }

  spent({ ref }: LeasedJob, spent: Spent): void {
    this.#port.post({ type: "spend", ref, ...spent });
  }

  /** Of several things that a job says in short order only the newest is passed on. */
  progress({ ref }: LeasedJob, percent: number, message: string): void {
    this.#progress.set(ref, { ref, percent, message });
    this.#progressTimer ??= setTimeout(() => {
      this.#progressTimer = undefined;
      const items = [...this.#progress.values()];
      this.#progress.clear();
      if (items.length > 0) this.#port.post({ type: "progress", items });
    }, progressIntervalMs);
  }

  throttled({ ref }: LeasedJob, retryAfterMs: number): void {
    this.#port.post({ type: "throttled", ref, retryAfterMs });
  }

  /** The job has ended: how far it was does not matter any more. */
  forget(job: LeasedJob): void {
    if (this.#progress.size > 0) this.#progress.delete(job.ref);
  }

  drain(): void {
    this.#port.post({ type: "drain" });
  }

  finish(): void {
    this.#flush();
    this.#port.post({ type: "finish" });
  }

  close(): void {
    clearTimeout(this.#progressTimer);
  }

  #added(): void {
    if (this.#results.count >= batchResultsMax || this.#results.byteLength >= batchBytesMax)
      return this.#flush();
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
}
