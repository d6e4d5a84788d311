// Follows a channel and calls a handler for each signal, one at a time and in order. A signal counts as done when the
// handler has returned; whatever was not done comes again, after a lost stream, a crash, or a restart (D13, D14).
//
//   connecting ──restored──► restoring ──caught_up──► live ──lost──► connecting …       ended: stopped, or refused
import { setTimeout as sleep } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import {
  type Gap,
  SignalService,
  SubscribeRequestSchema,
  type SubscribeResponse,
  SubscribeResponseSchema,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { HubConnection } from "../client/hub-connection.js";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { backoffMs } from "../session/backoff.js";
import { thrownText } from "../thrown-text.js";
import { type ScannedPage, scanSignals } from "../wire/signal-scan.js";
import { wireText } from "../wire/wire-text.js";
import type { ChannelName } from "./channel-name.js";
import { ReceivedSignal } from "./received-signal.js";
import { type DueCheckpoint, ReducerStates } from "./reducer-states.js";
import { ended, isPassing } from "./stream-loss.js";
import {
  type CheckpointOptions,
  type SignalHandler,
  type SignalReducer,
  type SubscribeOptions,
  subscribeOpen,
} from "./subscribe-options.js";

export type Subscription = {
  /** Resolves when it was stopped; rejects when the hub refuses it for good, or a reducer keeps failing. */
  readonly done: Promise<void>;
  /** Finishes the signal in hand, saves, and ends. */
  stop(): Promise<void>;
};

type Call = ClientDuplexStream<Uint8Array, Buffer>;
type Up = NonNullable<NonNullable<Parameters<typeof create<typeof SubscribeRequestSchema>>[1]>["message"]>;

/** Credit: what may be on its way or waiting here. */
const window = { signals: 20_000, bytes: 16 << 20 };
const backoff = { firstMs: 100, maxMs: 5_000, resetAfterMs: 0 };
const reducerTriesMax = 5;
const refusalDelayMs = 1_000;
const tickMs = 100;
const reasonBytesMax = 1_024;
const gapReasons = ["", "CURSOR_TOO_OLD", "LAGGED", "DEAD_LETTERED"];

export class HubSubscription<State> implements Subscription {
  readonly done: Promise<void>;
  readonly #connection: HubConnection;
  readonly #channel: ChannelName;
  readonly #options: SubscribeOptions;
  readonly #handle: SignalHandler;
  /** null: signals are for a handler. */
  readonly #newStates: (() => ReducerStates<State>) | null;
  readonly #stopping = new AbortController();
  #states: ReducerStates<State> | null = null;
  #spent = { signals: 0, bytes: 0 };
  /** Handled and not acknowledged yet: neighbours share a message. */
  #done: { readonly partition: number; readonly first: number; last: number } | undefined;
  #inHand: Promise<void> = Promise.resolve();
  #call: Call | undefined;

  constructor(
    connection: HubConnection,
    channel: ChannelName,
    handle: SignalHandler | SignalReducer<State>,
    options: SubscribeOptions | CheckpointOptions<State>,
  ) {
    this.#connection = connection;
    this.#channel = channel;
    this.#options = options;
    this.#handle = handle as SignalHandler;
    const checkpoint = "checkpoint" in options ? options.checkpoint : undefined;
    this.#newStates = checkpoint ? () => new ReducerStates(handle as SignalReducer<State>, checkpoint) : null;
    options.signal?.addEventListener("abort", () => this.#stopping.abort(), { once: true });
    if (options.signal?.aborted) this.#stopping.abort();
    connection.join(this);
    this.done = this.#run().finally(() => connection.leave(this));
    // Who does not look at `done` must not be ended by it.
    this.done.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.done;
  }

  /** What is not acknowledged by now comes again. */
  connectionClosed(): void {
    this.#stopping.abort();
    this.#call?.cancel();
  }

  /** One stream after the other. */
  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let failures = 0;
    let failed: ReducerFailed | undefined;
    while (!signal.aborted) {
      let retryAfterMs = 0;
      try {
        await this.#follow(() => {
          failures = 0;
        });
      } catch (error) {
        if (error instanceof HandlerGaveUp) throw error.cause;
        if (signal.aborted) return;
        if (error instanceof ReducerFailed) {
          error.tries = error.place === failed?.place ? failed.tries + 1 : 1;
          failed = error;
          if (failed.tries === reducerTriesMax) throw failed.cause;
          failures = failed.tries;
        } else {
          if (!(error instanceof HoldfastError) || !isPassing(error)) throw error;
          failures += 1;
          retryAfterMs = error.retryAfterMs ?? 0;
        }
        const delayMs = Math.max(retryAfterMs, backoffMs(backoff, failures, Math.random()));
        await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** One stream, from its opening to its end. */
  async #follow(onLive: () => void): Promise<void> {
    const { call, failed } = this.#connection.duplex(SignalService.method.subscribe);
    this.#call = call;
    this.#spent = { signals: 0, bytes: 0 };
    this.#states = this.#newStates?.() ?? null;
    this.#done = undefined;
    call.on("error", () => undefined);
    // A state that cannot be stored would throw where nobody listens: it ends the stream, and the subscription with it.
    const giveUp = (error: unknown) => void call.destroy(new HandlerGaveUp(error));
    const stop = () => void this.#inHand.then(() => this.#finish(call)).catch(giveUp);
    this.#stopping.signal.addEventListener("abort", stop, { once: true });
    this.#say({ case: "open", value: subscribeOpen(this.#channel, this.#options) });
    this.#grant(window);
    const ticker = setInterval(() => {
      this.#sayAcknowledged();
      try {
        this.#save(this.#states?.takeDue(Date.now()));
      } catch (error) {
        giveUp(error);
      }
    }, tickMs);
    try {
      for await (const bytes of call as AsyncIterable<Buffer>) {
        onLive();
        if (this.#stopping.signal.aborted) continue;
        const signals = scanSignals(bytes);
        if (signals === undefined) this.#take(fromBinary(SubscribeResponseSchema, bytes).message);
        else
          for (const page of signals.pages)
            await this.#takePage(bytes, page, signals.partition, signals.isRedelivered);
        this.#sayAcknowledged();
      }
      if (!this.#stopping.signal.aborted) throw ended();
    } catch (error) {
      throw typeof (error as Partial<ServiceError>).code === "number" ? failed(error as ServiceError) : error;
    } finally {
      clearInterval(ticker);
      this.#stopping.signal.removeEventListener("abort", stop);
      call.cancel();
    }
  }

  async #takePage(
    bytes: Buffer,
    page: ScannedPage,
    partition: number,
    isRedelivered: boolean,
  ): Promise<void> {
    const { places } = page;
    for (let at = 0; 3 * at < places.length; at += 1) {
      if (this.#stopping.signal.aborted) return;
      const handling = this.#begin(new ReceivedSignal(bytes, page, at, partition, isRedelivered));
      if (handling !== undefined) {
        this.#inHand = handling.catch(() => undefined);
        await handling;
      }
      // What comes again has cost nothing.
      if (!isRedelivered) this.#spend((places[3 * at + 2] as number) - (places[3 * at] as number));
    }
  }

  #take(message: SubscribeResponse["message"]): void {
    switch (message.case) {
      case "restored":
        return this.#states?.restore(message.value);
      case "gap":
        return this.#takeGap(message.value);
      case "caughtUp":
        return this.#options.onCaughtUp?.(message.value.partition);
      case "revoked":
        // Another member goes on from what is saved.
        this.#states?.forget(message.value.partition);
        if (this.#done?.partition === message.value.partition) this.#done = undefined;
        return;
      default:
        return;
    }
  }

  #takeGap({ partition, firstMissing, lastMissing, reason }: Gap): void {
    this.#states?.skip(partition, Number(lastMissing));
    this.#options.onGap?.({
      partition,
      first: Number(firstMissing),
      last: Number(lastMissing),
      reason: gapReasons[reason] ?? "",
    });
  }

  /** Undefined when the handler was done at once. */
  #begin(received: ReceivedSignal): Promise<void> | undefined {
    const states = this.#states;
    const fail = (error: unknown) => this.#failed(received, error);
    const done = () => this.#noteDone(received);
    try {
      const handling = states ? states.reduce(received) : this.#handle(received);
      if (handling instanceof Promise) return handling.then(done, fail);
    } catch (error) {
      return fail(error);
    }
    done();
    return undefined;
  }

  #noteDone({ partition, sequence }: ReceivedSignal): void {
    if (this.#states !== null) return this.#save(this.#states.takeDue(Date.now()));
    if (!this.#options.consumer) return;
    if (this.#done?.partition !== partition || this.#done.last + 1 !== sequence) {
      this.#sayAcknowledged();
      this.#done = { partition, first: sequence, last: sequence };
    }
    this.#done.last = sequence;
  }

  async #failed({ partition, sequence }: ReceivedSignal, error: unknown): Promise<void> {
    if (this.#states !== null) throw new ReducerFailed(`${partition}/${sequence}`, error);
    if (!this.#options.consumer) throw new HandlerGaveUp(error);
    const reason = wireText(
      thrownText(() => (error instanceof Error ? error.message : error)),
      reasonBytesMax,
    );
    const delay = durationFromMs(refusalDelayMs);
    this.#say({ case: "nack", value: { partition, sequence: BigInt(sequence), delay, reason } });
  }

  #sayAcknowledged(): void {
    if (this.#done === undefined) return;
    const { partition, first, last } = this.#done;
    this.#done = undefined;
    const ranges = [{ first: BigInt(first), last: BigInt(last) }];
    this.#say({ case: "ack", value: { partition, ranges } });
  }

  #save(due: readonly DueCheckpoint[] = []): void {
    for (const { sequence, ...rest } of due)
      this.#say({ case: "checkpoint", value: { ...rest, sequence: BigInt(sequence) } });
  }

  #spend(bytes: number): void {
    this.#spent.signals += 1;
    this.#spent.bytes += bytes;
    if (this.#spent.signals < window.signals / 4 && this.#spent.bytes < window.bytes / 4) return;
    this.#grant(this.#spent);
    this.#spent = { signals: 0, bytes: 0 };
  }

  #grant({ signals, bytes }: { readonly signals: number; readonly bytes: number }): void {
    this.#say({ case: "credit", value: { signals, bytes: BigInt(bytes) } });
  }

  #finish(call: Call): void {
    this.#sayAcknowledged();
    this.#save(this.#states?.takeUnsaved());
    call.end();
  }

  #say(message: Up): void {
    const call = this.#call;
    if (call?.writable)
      call.write(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { message })));
  }
}

/** The handler's own error, on its way past the loop that reconnects. */
class HandlerGaveUp extends Error {
  constructor(cause: unknown) {
    super("a handler gave up", { cause });
  }
}

/** A reducer must not skip, and its state is in doubt: both are restored. */
class ReducerFailed extends Error {
  readonly place: string;
  tries = 1;

  constructor(place: string, cause: unknown) {
    super("a reducer failed", { cause });
    this.place = place;
  }
}
