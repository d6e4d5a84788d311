import type { ChildOutcome } from "@holdfast/gen/holdfast/v1/job_pb";
import type { ChannelName } from "../signals/channel-name.js";
import type { SignalPayload } from "../signals/payload.js";
import type { PublishOptions } from "../signals/producer.js";
import type { ReceivedSignal } from "../signals/received-signal.js";
import type { Published } from "../signals/waiting-signals.js";

/** Runs one job. What it returns is the job's result; what it throws fails the attempt. */
export type Handler = (job: JobContext) => HandlerResult | Promise<HandlerResult>;

/** Nothing, text, bytes, or a value that is stored as JSON. Each gets the fitting content type. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement is a handler that succeeds
export type HandlerResult = void | string | Uint8Array | object;

/** What a handler knows of its job, and what it can say while it runs. */
export type JobContext = {
  readonly id: string;
  readonly kind: string;
  readonly product: string;
  readonly queue: string;
  /** 1 for the first start. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /**
   * Proves who may act on the job: pass it to systems that the handler writes to, and let them refuse a lower one
   * than they have seen (D4).
   */
  readonly fencingToken: bigint;
  readonly payload: Uint8Array;
  /** Media type of the payload. */
  readonly contentType: string;
  /** The payload as UTF-8 text. */
  text(): string;
  /** The payload as JSON; throws when it is none. */
  json<Value = unknown>(): Value;
  readonly labels: Readonly<Record<string, string>>;
  /** Empty when the submitter gave none. */
  readonly idempotencyKey: string;
  /** The job must have ended by then; the hub sees to it. */
  readonly deadline?: Date | undefined;
  readonly submittedAt: Date;
  /** Sixteen bytes that are the same for all attempts of the job and for its replays, and unlike those of other jobs. */
  readonly seed: Uint8Array;
  /** Whether the job repeats one that has ended. */
  readonly isReplay: boolean;
  /**
   * A number from 0 up to, but not including, 1: the next of a sequence that begins anew with each attempt and is the
   * same for all of them and for replays. What a handler draws here it draws again. Not for secrets.
   */
  random(): number;
  /**
   * What became of its children, for a parent: the first of them, as many as fit into 64 KiB of results, in the order
   * of their submission. `total` says how many there are; `client.children(job.id)` reads all. Use `resultOf` on each.
   */
  readonly children?: { readonly total: number; readonly outcomes: readonly ChildOutcome[] } | undefined;
  /** W3C trace context of the submitter. */
  readonly traceContext?: { readonly traceparent: string; readonly tracestate: string } | undefined;
  /**
   * Aborted when the attempt should stop. Its reason says why: RevokedError (the hub takes the job away),
   * TrustWindowError or LeaseLostError (the lease is gone; nothing more is reported), JobSuspended (the job waits for a
   * signal), DrainTimeoutError.
   */
  readonly signal: AbortSignal;
  /** Where the attempt before this one got to (D7); undefined when there is nothing. */
  readonly checkpoint?: { readonly sequence: bigint; readonly state: Uint8Array } | undefined;
  /**
   * Saves where the job is; resolves once that is durable, and the next attempt would start from it. An object is
   * stored as JSON. One save at a time is on its way; of those that come meanwhile only the newest is kept, and all of
   * them resolve with it. Rejects with LeaseLostError when the lease does not stand any more.
   */
  saveCheckpoint(state: Uint8Array | string | object): Promise<void>;
  /**
   * Does something outside that must not be done twice: `run` runs once for the job and the key, over all attempts and
   * workers, and what it returned is stored. Whoever calls again, on this attempt or a later one, is given the stored
   * value (D16). While another holds the effect this waits, and takes it over once that one's lease ran out (D17).
   *
   * The value is what comes back from storage: JSON for anything but text and bytes, 64 KiB at most. When `run` throws,
   * the effect is given back (unless its signal was aborted: then its lease runs out), and this rejects with what was
   * thrown. Rejects with the signal's reason when the attempt should stop.
   *
   * Nothing can tell whether a worker that died had done it already: pass `effect.idempotencyKey` to the other side, or
   * look there first when `effect.isTakenOver`.
   */
  effect<Value extends EffectValue>(
    key: string,
    run: EffectFunction<Value>,
    options?: EffectOptions,
  ): Promise<Value>;
  /** Tells people how far the job is, 0 to 100. Best effort, a few times a second at most. A message is cut to 1 KiB. */
  progress(percent: number, message?: string): void;
  /**
   * Adds to what this attempt has spent: money in millionths of a US dollar, and tokens, both whole numbers. The sum is
   * told to the hub at each call, and goes with the result; it replaces the job's estimate in the budget (D18), also when
   * the attempt is lost. An attempt that says nothing is settled at the estimate, or refunded when it is lost.
   */
  spend(spent: { readonly costMicroUsd?: number; readonly tokens?: number }): void;

  /**
   * Says that the service that the job calls asked to slow down, for handlers that wait and try again themselves: an
   * adaptive bucket before the job's source then lets fewer jobs start, on all workers. Best effort. A handler that
   * fails with a code such as HTTP_429 need not say it.
   */
  throttled(options?: { readonly retryAfterMs?: number }): void;

  /**
   * Publishes a signal to a channel of this job; resolves once it is durable (D11). A hub that has given the job to
   * somebody else refuses it (D4). What was published without waiting is stored before the job's result is reported.
   */
  publish(channel: string, payload: SignalPayload, options?: PublishOptions): Promise<Published>;

  /**
   * Waits for the first signal on a channel after a sequence: an approval, a callback. Resolves with it at once when it
   * is there. Otherwise the job gives its lease and its place on this worker back, and costs nothing while it waits:
   * **the handler is started anew**, from the beginning, on any worker, once a signal came or the time is over, and its
   * `waitFor` resolves then. So whatever the handler did before the wait it does again: put it into an `effect`, or
   * give a `checkpoint` and begin by looking at `job.checkpoint`.
   *
   * A handler that is suspended stays at its `await` for ever: nothing after it runs, no `catch` and no `finally`. What
   * it holds open is let go of by listening to `job.signal`, which is aborted with JobSuspended. The wait costs no
   * attempt. No signal that is published between asking and waiting is missed.
   *
   * With `timeoutMs`, counted from the first time that the job waited so, resolves with undefined when that is over; a
   * wait that is over stays over, whatever is published afterwards. Rejects with the signal's reason when the attempt
   * should stop, with HoldfastError CURSOR_TOO_OLD when retention has dropped signals after `after`, and when an effect
   * is under way: it could be left half done.
   *
   * @param channel the name of one of the job's own channels, or another's
   */
  waitFor(
    channel: AwaitedChannel,
    options: WaitOptions & { readonly timeoutMs: number },
  ): Promise<ReceivedSignal | undefined>;
  waitFor(
    channel: AwaitedChannel,
    options?: WaitOptions & { timeoutMs?: undefined },
  ): Promise<ReceivedSignal>;
};

/** One of the job's own channels, by its name; or one of another owner. */
export type AwaitedChannel = string | Exclude<ChannelName, string>;

export type WaitOptions = {
  /** Signals up to this sequence do not count: pass that of the last one to get the next. Default 0: any does. */
  readonly after?: number;
  /** 1 to 31,622,400,000 (366 days). Default: as long as it takes. */
  readonly timeoutMs?: number | undefined;
  /** Which partition, when the channel has several. Default: the first. */
  readonly key?: string;
  /** Saved before the wait begins; what the handler starts from when it is started anew. */
  readonly checkpoint?: Uint8Array | string | object;
};

/** What an effect may come to: nothing, text, bytes, or a value that is stored as JSON. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement is an effect without a value
export type EffectValue = void | null | string | number | boolean | Uint8Array | object;

/** Does the thing outside. */
export type EffectFunction<Value> = (effect: EffectContext) => Value | Promise<Value>;

export type EffectOptions = {
  /**
   * How long the lease of the effect lasts; it is renewed while the function runs. So long others wait after this
   * worker died in the middle. 100 ms to 24 h. Default 30,000.
   */
  readonly ttlMs?: number;
};

/** What the function of an effect knows. */
export type EffectContext = {
  readonly key: string;
  /** The same for every attempt, and unlike that of every other effect: what the other side may tell repetitions by. */
  readonly idempotencyKey: string;
  /** Rises with every grant; proves who holds the effect. */
  readonly effectToken: bigint;
  /** Somebody held the effect before and never said how it ended: it may have been done. */
  readonly isTakenOver: boolean;
  /** Aborted when the attempt should stop, or the effect is not this worker's any more. */
  readonly signal: AbortSignal;
};
