import { create, fromBinary } from "@bufbuild/protobuf";
import { TimestampSchema, timestampDate } from "@bufbuild/protobuf/wkt";
import type { ChildOutcome } from "@holdfast/gen/holdfast/v1/job_pb";
import { type Lease, LeaseSchema } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { JobSuspended, LeaseLostError, type RevokeCause } from "../job-errors.js";
import type { HubLimits } from "../port.js";
import type { SignalPayload } from "../signals/payload.js";
import type { HubProducer, PublishOptions } from "../signals/producer.js";
import type { ReceivedSignal } from "../signals/received-signal.js";
import type { Published } from "../signals/waiting-signals.js";
import type { ScannedLease } from "../wire/lease-scan.js";
import { nothingSpent, type Spent, spendField } from "../wire/spend-field.js";
import { wireText } from "../wire/wire-text.js";
import { CheckpointSlot } from "./checkpoint-slot.js";
import type {
  AwaitedChannel,
  EffectFunction,
  EffectOptions,
  EffectValue,
  JobContext,
  WaitOptions,
} from "./job-context.js";
import { JobEffects } from "./job-effects.js";
import { seededRandom, seedOf } from "./job-seed.js";
import { JobWaits } from "./job-waits.js";

/** What a job says while it runs. */
export type JobOutlet = {
  checkpoint(job: LeasedJob, sequence: number, state: Uint8Array): void;
  /** @param act the bytes of a holdfast.v1.EffectAct */
  effect(job: LeasedJob, requestId: string, act: Uint8Array): void;
  /** @param wait the bytes of a holdfast.v1.Wait */
  wait(job: LeasedJob, requestId: string, wait: Uint8Array): void;
  progress(job: LeasedJob, percent: number, message: string): void;
  throttled(job: LeasedJob, retryAfterMs: number): void;
  spent(job: LeasedJob, spent: Spent): void;
  /** Opens a producer for a channel of the job. */
  producer(job: LeasedJob, channel: string): HubProducer;
  readonly limits: Pick<HubLimits, "checkpointBytesMax" | "effectResultBytesMax">;
};

const throttledMsMax = 86_400_000;
const progressBytesMax = 1_024;

/** Where a job is on its way through the runner. */
export type JobPhase =
  | "waiting"
  | "running"
  /** Its handler was told to stop because the lease is gone: how it ends does not matter any more. */
  | "abandoned"
  /** It waits for a signal: its place is free, and its handler is not heard of any more. */
  | "suspended"
  | "ended";

/**
 * A lease and its job, as the handler sees it. Most handlers look at few of its fields, so each is read out of the
 * lease's bytes when it is first asked for, and the AbortController exists only once somebody listens.
 */
export class LeasedJob implements JobContext {
  readonly ref: number;
  readonly kind: string;
  /** The batch that the lease came in while waiting; from the start on a copy of the lease alone. */
  bytes: Buffer;
  /** Where its fields are in the batch. */
  readonly places: ScannedLease;
  phase: JobPhase = "waiting";
  /** The hub has asked for the attempt to stop; the lease still stands. */
  revoked: { readonly cause: RevokeCause; readonly message: string } | undefined;
  readonly #outlet: JobOutlet;
  #offset = 0;
  #lease: Lease | undefined;
  #abortion: AbortController | undefined;
  #abortReason: Error | undefined;
  #checkpoints: CheckpointSlot | undefined;
  #effects: JobEffects | undefined;
  #producers: Map<string, HubProducer> | undefined;
  #unpublished: unknown;
  #spent: Spent | undefined;
  #random: (() => number) | undefined;
  #waits: JobWaits | undefined;

  constructor(ref: number, bytes: Buffer, places: ScannedLease, outlet: JobOutlet) {
    this.ref = ref;
    this.bytes = bytes;
    this.places = places;
    this.#outlet = outlet;
    this.kind = bytes.toString("latin1", places.kindStart, places.kindEnd);
  }

  /** Frees the batch: a job that runs for hours must not keep its neighbours' payloads in memory. */
  start(): void {
    this.phase = "running";
    this.#offset = this.places.start;
    this.bytes = Buffer.from(this.bytes.subarray(this.places.start, this.places.end));
  }

  get jobIdStart(): number {
    return this.places.jobIdStart - this.#offset;
  }

  get jobIdEnd(): number {
    return this.places.jobIdEnd - this.#offset;
  }

  get id(): string {
    return this.bytes.toString("latin1", this.jobIdStart, this.jobIdEnd);
  }

  get token(): number {
    return this.places.fencingToken;
  }

  get fencingToken(): bigint {
    return BigInt(this.places.fencingToken);
  }

  get payload(): Uint8Array {
    return this.#view(this.places.payloadStart, this.places.payloadEnd);
  }

  text(): string {
    const { payloadStart, payloadEnd } = this.places;
    return this.bytes.toString("utf8", payloadStart - this.#offset, payloadEnd - this.#offset);
  }

  json<Value = unknown>(): Value {
    return JSON.parse(this.text());
  }

  get checkpoint(): { sequence: bigint; state: Uint8Array } | undefined {
    const { checkpointSequence, checkpointStart, checkpointEnd } = this.places;
    if (checkpointSequence === 0) return undefined;
    return { sequence: BigInt(checkpointSequence), state: this.#view(checkpointStart, checkpointEnd) };
  }

  #view(start: number, end: number): Uint8Array {
    const { buffer, byteOffset } = this.bytes;
    return new Uint8Array(buffer, byteOffset + start - this.#offset, end - start);
  }

  /** The whole lease, for the fields that are rarely asked for. */
  get #message(): Lease {
    this.#lease ??= fromBinary(LeaseSchema, this.bytes);
    return this.#lease;
  }

  get product(): string {
    return this.#message.product;
  }

  get queue(): string {
    return this.#message.queue;
  }

  get attempt(): number {
    return this.#message.attempt;
  }

  get maxAttempts(): number {
    return this.#message.maxAttempts;
  }

  get contentType(): string {
    return this.#message.contentType === "" ? "application/octet-stream" : this.#message.contentType;
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#message.labels;
  }

  get idempotencyKey(): string {
    return this.#message.idempotencyKey;
  }

  get deadline(): Date | undefined {
    return this.#message.deadline === undefined ? undefined : timestampDate(this.#message.deadline);
  }

  get submittedAt(): Date {
    return timestampDate(this.#message.submittedAt ?? create(TimestampSchema));
  }

  get seed(): Uint8Array {
    return seedOf(this.#message.originJobId || this.id);
  }

  get isReplay(): boolean {
    return this.#message.originJobId !== "";
  }

  random(): number {
    this.#random ??= seededRandom(this.seed);
    return this.#random();
  }

  get children(): { total: number; outcomes: readonly ChildOutcome[] } | undefined {
    return this.#message.children;
  }

  get traceContext(): { traceparent: string; tracestate: string } | undefined {
    return this.#message.traceContext;
  }

  get signal(): AbortSignal {
    if (this.#abortion === undefined) {
      this.#abortion = new AbortController();
      if (this.#abortReason !== undefined) this.#abortion.abort(this.#abortReason);
    }
    return this.#abortion.signal;
  }

  /** Tells the handler to stop. The first reason stays. */
  abort(reason: Error): void {
    this.#abortReason ??= reason;
    this.#abortion?.abort(reason);
  }

  saveCheckpoint(state: Uint8Array | string | object): Promise<void> {
    const bytes = checkpointBytes(state);
    const bytesMax = this.#outlet.limits.checkpointBytesMax;
    if (bytes.length > bytesMax) {
      const message = `a checkpoint of ${bytes.length} bytes is larger than the hub takes: ${bytesMax}`;
      return Promise.reject(new RangeError(message));
    }
    this.#checkpoints ??= new CheckpointSlot(this.places.checkpointSequence, (sequence, sent) =>
      this.#outlet.checkpoint(this, sequence, sent),
    );
    if (this.phase === "ended") this.#checkpoints.close(new LeaseLostError("the attempt has ended"));
    return this.#checkpoints.save(bytes);
  }

  checkpointAnswered(sequence: number, failure: Error | undefined): void {
    this.#checkpoints?.answered(sequence, failure);
  }

  effect<Value extends EffectValue>(
    key: string,
    run: EffectFunction<Value>,
    options: EffectOptions = {},
  ): Promise<Value> {
    this.#effects ??= new JobEffects(this, {
      send: (requestId, act) => this.#outlet.effect(this, requestId, act),
      resultBytesMax: () => this.#outlet.limits.effectResultBytesMax,
    });
    if (this.phase === "ended") this.#effects.close(new LeaseLostError("the attempt has ended"));
    return this.#effects.run(key, run, options);
  }

  /** @param verdict the bytes of a holdfast.v1.EffectVerdict */
  effectAnswered(verdict: Uint8Array): void {
    const lost = this.#effects?.answered(verdict);
    if (lost !== undefined) this.abandon(lost);
  }

  /** Resolves when no effect is under way any more; undefined when none is. Rejects with what the first one threw. */
  effectsSettled(): Promise<void> | undefined {
    return this.#effects?.settled();
  }

  publish(channel: string, payload: SignalPayload, options?: PublishOptions): Promise<Published> {
    if (this.phase !== "running")
      return Promise.reject(new LeaseLostError("the lease is gone, or the attempt has ended"));
    this.#producers ??= new Map();
    let producer = this.#producers.get(channel);
    if (producer === undefined) {
      producer = this.#outlet.producer(this, channel);
      this.#producers.set(channel, producer);
    }
    const published = producer.publish(payload, options);
    published.catch((error: unknown) => {
      this.#unpublished ??= error;
    });
    return published;
  }

  /** Resolves when what was published is stored; undefined when nothing waits. Rejects with what could not be. */
  publishingSettled(): Promise<void> | undefined {
    const waiting = [...(this.#producers?.values() ?? [])].filter(({ isWaiting }) => isWaiting);
    if (waiting.length === 0 && this.#unpublished === undefined) return undefined;
    return Promise.all(waiting.map((producer) => producer.flush())).then(() => {
      if (this.#unpublished !== undefined) throw this.#unpublished;
    });
  }

  waitFor(
    channel: AwaitedChannel,
    options: WaitOptions & { readonly timeoutMs: number },
  ): Promise<ReceivedSignal | undefined>;
  waitFor(
    channel: AwaitedChannel,
    options?: WaitOptions & { timeoutMs?: undefined },
  ): Promise<ReceivedSignal>;
  async waitFor(channel: AwaitedChannel, options: WaitOptions = {}): Promise<ReceivedSignal | undefined> {
    checkWait(options);
    if (this.#effects?.isBusy)
      throw new Error("an effect is under way, and the job could be suspended in its middle: await it first");
    if (options.checkpoint !== undefined) await this.saveCheckpoint(options.checkpoint);
    await this.publishingSettled();
    if (this.phase !== "running") throw new LeaseLostError("the lease is gone, or the attempt has ended");
    this.#waits ??= new JobWaits(this, (requestId, wait) => this.#outlet.wait(this, requestId, wait));
    return await this.#waits.wait(channel, options);
  }

  /** @param verdict the bytes of a holdfast.v1.WaitVerdict that leaves the lease standing, or says that it is gone */
  waitAnswered(verdict: Uint8Array): void {
    const lost = this.#waits?.answered(verdict);
    if (lost !== undefined) this.abandon(lost);
  }

  /** The job waits for a signal, and the lease has ended. */
  suspend(): void {
    this.#waits?.forget();
    this.abandon(new JobSuspended("the job waits for a signal"));
    this.phase = "suspended";
  }

  #closeProducers(): void {
    for (const producer of this.#producers?.values() ?? []) producer.abandon();
    this.#producers = undefined;
  }

  progress(percent: number, message = ""): void {
    if (!(typeof percent === "number" && percent >= 0 && percent <= 100)) {
      throw new RangeError(`progress must be a percentage from 0 to 100, got ${String(percent)}`);
    }
    if (this.phase !== "running") return;
    // A hub that is told what it does not take ends the stream, and the worker with it.
    this.#outlet.progress(this, percent, wireText(message, progressBytesMax));
  }

  throttled({ retryAfterMs = 0 }: { readonly retryAfterMs?: number } = {}): void {
    if (!(retryAfterMs >= 0 && retryAfterMs <= throttledMsMax)) {
      throw new RangeError(`retryAfterMs must be from 0 to ${throttledMsMax}, got ${retryAfterMs}`);
    }
    if (this.phase === "running") this.#outlet.throttled(this, Math.ceil(retryAfterMs));
  }

  get spendField(): Uint8Array {
    return this.#spent === undefined ? noField : spendField(this.#spent);
  }

  spend({ costMicroUsd = 0, tokens = 0 }: { costMicroUsd?: number; tokens?: number }): void {
    const before = this.#spent ?? nothingSpent;
    const after = { costMicroUsd: before.costMicroUsd + costMicroUsd, tokens: before.tokens + tokens };
    for (const amount of [costMicroUsd, tokens, after.costMicroUsd, after.tokens])
      if (!Number.isSafeInteger(amount) || amount < 0)
        throw new RangeError("what is spent must be whole numbers that are not negative");
    this.#spent = after;
    if (this.phase === "running") this.#outlet.spent(this, after);
  }

  /** The lease is gone while the handler runs: it is told to stop, and how it ends does not matter any more. */
  abandon(reason: Error): void {
    this.phase = "abandoned";
    this.#checkpoints?.close(reason);
    this.#closeProducers();
    this.#effects?.close(reason);
    this.#waits?.close(reason);
    this.abort(reason);
  }

  /** The runner has answered for the lease. */
  end(): void {
    this.phase = "ended";
    this.#checkpoints?.close(new LeaseLostError("the attempt has ended"));
    this.#closeProducers();
    this.#effects?.close(new LeaseLostError("the attempt has ended"));
    this.#waits?.close(new LeaseLostError("the attempt has ended"));
  }
}

const noField = new Uint8Array();
const timeoutMaxMs = 366 * 86_400_000;

function checkWait({ after = 0, timeoutMs }: WaitOptions): void {
  if (!Number.isSafeInteger(after) || after < 0)
    throw new RangeError(`after must be the sequence of a signal, or 0; got ${after}`);
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= timeoutMaxMs))
    throw new RangeError(`timeoutMs must be from 1 to ${timeoutMaxMs}, got ${timeoutMs}`);
}

/** A copy of the state: the handler may go on writing to its own. */
function checkpointBytes(state: Uint8Array | string | object): Uint8Array {
  if (state instanceof Uint8Array) return new Uint8Array(state);
  return new TextEncoder().encode(typeof state === "string" ? state : JSON.stringify(state));
}
