// Publishes to one channel. What has no receipt yet is kept and sent again after a lost stream, under the numbers that
// it had: so a signal is stored once, however often it is sent (D12).
//
//   idle ──publish──► opening ──opened──► open ──lost──► opening …        closed: by the caller, by a refusal, or with
//                                                                                 its connection
import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import {
  type PublishOpened,
  PublishRequestSchema,
  type PublishResponse,
  PublishResponseSchema,
  SignalService,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { HubConnection } from "../client/hub-connection.js";
import type { HoldfastError } from "../grpc/holdfast-error.js";
import { backoffMs } from "../session/backoff.js";
import { signalFields } from "../wire/publish-frame.js";
import { type ChannelName, channelRef } from "./channel-name.js";
import { encodePayload, type SignalPayload } from "./payload.js";
import { ended, isPassing } from "./stream-loss.js";
import { type Published, WaitingSignals } from "./waiting-signals.js";

export type ProducerOptions = {
  /**
   * Name within the channel. A newer producer of the same name fences this one out. Default: a random name, which is
   * right unless another process must go on with this one's numbers.
   */
  readonly name?: string;
};

export type PublishOptions = {
  /** Signals with the same key stay in order, whatever the number of partitions. */
  readonly key?: string;
  /** W3C traceparent. */
  readonly traceparent?: string;
};

export type SignalProducer = {
  /**
   * Publishes a signal; resolves once it is durable (D11). Signals published without waiting for each other stay in
   * order and share commits.
   */
  publish(payload: SignalPayload, options?: PublishOptions): Promise<Published>;
  /**
   * How many signals were stored under this name when it was opened here; 0 for a new name. A process that was killed
   * learns by it where to go on (D12): what it would publish next is number `lastStored + 1` of its source.
   */
  lastStored(): Promise<number>;
  /** Resolves when nothing waits for a receipt. */
  flush(): Promise<void>;
  /** Waits for the receipts that are due, then ends the stream. */
  close(): Promise<void>;
};

export type LeaseProof = { readonly jobId: string; readonly fencingToken: bigint };

const backoff = { firstMs: 100, maxMs: 5_000, resetAfterMs: 0 };

export class HubProducer implements SignalProducer {
  readonly #connection: HubConnection;
  readonly #channel: ChannelName;
  readonly #name: string;
  readonly #lease: LeaseProof | undefined;
  readonly #waiting = new WaitingSignals();
  #call: ClientDuplexStream<Uint8Array, Buffer> | undefined;
  #isOpen = false;
  #isPaused = false;
  #isSending = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #ended: Error | undefined;
  #lastStored: number | undefined;
  #onOpened: { readonly resolve: (lastStored: number) => void; readonly reject: (error: Error) => void }[] =
    [];

  constructor(
    connection: HubConnection,
    channel: ChannelName,
    { name = randomUUID() }: ProducerOptions = {},
    lease?: LeaseProof,
  ) {
    this.#connection = connection;
    this.#channel = channel;
    this.#name = name;
    this.#lease = lease;
    connection.join(this);
  }

  /** Something has no receipt yet. */
  get isWaiting(): boolean {
    return !this.#waiting.isEmpty;
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  publish(payload: SignalPayload, { key = "", traceparent = "" }: PublishOptions = {}): Promise<Published> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const published = this.#waiting.add(signalFields({ ...encodePayload(payload), key, traceparent }));
    if (this.#isIdle) this.#open();
    else this.#sendSoon();
    return published;
  }

  lastStored(): Promise<number> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#lastStored !== undefined) return Promise.resolve(this.#lastStored);
    if (this.#isIdle) this.#open();
    return new Promise((resolve, reject) => this.#onOpened.push({ resolve, reject }));
  }

  flush(): Promise<void> {
    return this.#waiting.emptied();
  }

  /** Ends at once; whoever waits for a receipt is told. */
  abandon(): void {
    this.#end(new Error("the producer is closed"));
  }

  async close(): Promise<void> {
    await this.flush();
    this.abandon();
  }

  connectionClosed(): void {
    this.#end(new Error("the client is closed"));
  }

  get #isIdle(): boolean {
    return this.#call === undefined && this.#retry === undefined;
  }

  /** What cannot even be asked for will not be there later. */
  #open(): void {
    try {
      this.#openStream();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #openStream(): void {
    const { call, failed } = this.#connection.duplex(SignalService.method.publish);
    this.#call = call;
    this.#isOpen = false;
    this.#isPaused = false;
    call.on("data", (bytes: Buffer) => {
      if (this.#call === call) this.#read(bytes);
    });
    call.on("error", (error: ServiceError) => {
      if (this.#call === call) this.#lost(failed(error));
    });
    call.on("end", () => {
      if (this.#call === call) this.#lost(ended());
    });
    call.on("drain", () => this.#sendSoon());
    const value = {
      channel: channelRef(this.#channel),
      producer: this.#name,
      ...(this.#lease && { lease: this.#lease }),
    };
    const open = create(PublishRequestSchema, { message: { case: "open", value } });
    call.write(toBinary(PublishRequestSchema, open));
  }

  /** What cannot be read now cannot be on the next stream. */
  #read(bytes: Buffer): void {
    try {
      this.#take(fromBinary(PublishResponseSchema, bytes));
    } catch (error) {
      this.#end(new Error("the hub sent something unreadable", { cause: error }));
    }
  }

  #take({ message }: PublishResponse): void {
    switch (message.case) {
      case "opened":
        return this.#opened(message.value);
      case "receipts":
        this.#failures = 0;
        if (!this.#waiting.settle(message.value.receipts))
          this.#end(new Error("the hub answered for a signal that was not sent"));
        return;
      case "pause":
        this.#isPaused = true;
        return;
      case "resume":
        this.#isPaused = false;
        return this.#send();
    }
  }

  #opened({ lastProducerSequence }: PublishOpened): void {
    this.#isOpen = true;
    this.#lastStored ??= Number(lastProducerSequence);
    this.#waiting.opened(this.#lastStored);
    for (const { resolve } of this.#onOpened.splice(0)) resolve(this.#lastStored);
    this.#send();
  }

  /** After this turn of the event loop: what is published in it shares a batch. */
  #sendSoon(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    setImmediate(() => {
      this.#isSending = false;
      this.#send();
    });
  }

  #send(): void {
    const call = this.#call;
    while (call !== undefined && this.#isOpen && !this.#isPaused && !call.writableNeedDrain) {
      const batch = this.#waiting.nextBatch();
      if (batch === undefined) return;
      call.write(batch);
    }
  }

  #lost(failure: HoldfastError): void {
    this.#call = undefined;
    if (!isPassing(failure)) return this.#end(failure);
    if (this.#waiting.isEmpty && this.#onOpened.length === 0) return;
    this.#failures += 1;
    const delayMs = Math.max(failure.retryAfterMs ?? 0, backoffMs(backoff, this.#failures, Math.random()));
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#open();
    }, delayMs);
  }

  #end(reason: Error): void {
    this.#ended ??= reason;
    this.#connection.leave(this);
    clearTimeout(this.#retry);
    const call = this.#call;
    this.#call = undefined;
    call?.end();
    call?.cancel();
    this.#waiting.rejectAll(this.#ended);
    for (const { reject } of this.#onOpened.splice(0)) reject(this.#ended);
  }
}
