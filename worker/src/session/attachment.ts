import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Client,
  type ClientDuplexStream,
  connectivityState,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import {
  type CheckpointSaved,
  CheckpointSavedSchema,
  DrainNoticeSchema,
  HeartbeatEchoSchema,
  HeartbeatSchema,
  type Hello,
  HelloSchema,
  type Revoke,
  RevokeSchema,
  type Welcome,
  WelcomeSchema,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { callFailure } from "../grpc/call-failure.js";
import { callMetadata, type HubAccess, openChannel } from "../grpc/hub-channel.js";
import { methodPath } from "../grpc/method-codec.js";
import type { TrustClock } from "../trust-clock.js";
import { frameRequest, openResponse, requestField, responseField } from "../wire/attach-frame.js";
import { type AttachmentEnd, endOfFailure, endOfSilence } from "./attachment-end.js";
import { beat, heard, newPulse, type Pulse, silenceMaxMs } from "./pulse.js";

/** How long a delivery waits for a message that acknowledges it by the way. */
const acknowledgeAfterMs = 10;

/**
 * One lease stream, from its connection to its end.
 *
 *     connecting ──► attaching ──welcome──► live ──half-close──► closing ──► ended
 *          └──────────────┴──────────────────┴──── failure, silence ──────────▲
 *
 * Timers belong to the stage that needs them: until the welcome one that bounds the wait, while live the heartbeat and
 * the silence, while closing one that bounds the goodbye. There is no deadline on the stream itself.
 */
export class Attachment {
  readonly ended: Promise<AttachmentEnd>;
  readonly #client: Client;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #events: AttachmentEvents;
  readonly #clock: TrustClock;
  readonly #helloSentAt: number;
  #stage: Stage;
  #acknowledged = 0;
  #acknowledging: NodeJS.Timeout | undefined;
  #resolve: (end: AttachmentEnd) => void = () => {};

  constructor(options: AttachmentOptions, events: AttachmentEvents) {
    this.#events = events;
    this.#clock = options.clock;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#client = options.client ?? openChannel(options.access, options.address);
    this.#call = this.#client.makeBidiStreamRequest(
      methodPath(WorkerService.method.attach),
      (frame: Buffer) => frame,
      (frame) => frame,
      callMetadata(options.access),
    );
    this.#call.on("data", (frame: Buffer) => this.#guard(() => this.#receive(frame)));
    this.#call.on("drain", () => this.#events.onWritable());
    this.#call.on("status", (ended: StatusObject) => this.#onStatus(ended));
    // The status says the same; without a listener an error event would end the process.
    this.#call.on("error", () => {});
    const timer = setTimeout(() => {
      const waitedFor = this.#stage.name === "connecting" ? "a connection" : "the welcome";
      this.#end(endOfSilence(`no answer in ${options.welcomeWithinMs} ms while waiting for ${waitedFor}`, 0));
    }, options.welcomeWithinMs);
    this.#stage = { name: "connecting", timer };
    this.#watchConnection();
    this.#helloSentAt = this.#clock.now();
    this.#call.write(frameRequest(requestField.hello, [toBinary(HelloSchema, options.hello)], 0));
  }

  get isLive(): boolean {
    return this.#stage.name === "live";
  }

  get isAttaching(): boolean {
    return this.#stage.name === "connecting" || this.#stage.name === "attaching";
  }

  /** Sends one message. Returns false when more should wait for `onWritable`; only while live. */
  send(field: number, parts: readonly Uint8Array[]): boolean {
    if (this.#stage.name !== "live") return false;
    this.#acknowledged = this.#events.deliveredThrough();
    return this.#call.write(frameRequest(field, parts, this.#acknowledged));
  }

  /**
   * A delivery that nothing else acknowledges is acknowledged by itself: a job that kills its worker at once would
   * otherwise count as never delivered, and cost no attempt, for ever. An empty credit carries it.
   */
  #acknowledgeSoon(): void {
    this.#acknowledging ??= setTimeout(() => {
      this.#acknowledging = undefined;
      if (this.#events.deliveredThrough() > this.#acknowledged) this.send(requestField.credit, []);
    }, acknowledgeAfterMs);
  }

  /** Says goodbye: what was sent goes out, verdicts still come in, and then the hub closes. */
  close(outcome: "served" | "drained", withinMs: number): void {
    if (this.#stage.name !== "live") return;
    const { since } = this.#stage;
    this.#clearTimers();
    const timer = setTimeout(() => this.#end({ outcome, liveMs: this.#clock.now() - since }), withinMs);
    // The last deliveries are acknowledged before the goodbye: what is not goes elsewhere.
    if (this.#events.deliveredThrough() > this.#acknowledged) this.send(requestField.credit, []);
    this.#stage = { name: "closing", since, outcome, timer };
    this.#call.end();
  }

  /** Gives the stream up at once. */
  abandon(because: string): void {
    this.#end(endOfSilence(because, this.#liveMs()));
  }

  #watchConnection(): void {
    if (this.#stage.name !== "connecting") return;
    const channel = this.#client.getChannel();
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.READY) {
      this.#stage = { ...this.#stage, name: "attaching" };
      return this.#events.onConnected();
    }
    channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watchConnection());
  }

  #receive(frame: Buffer): void {
    const { field, start, end } = openResponse(frame);
    if (this.#stage.name === "ended") return;
    if (field === responseField.welcome)
      return this.#welcome(fromBinary(WelcomeSchema, frame.subarray(start, end)));
    if (this.#stage.name === "connecting" || this.#stage.name === "attaching") {
      throw new Error("the hub did not begin with a welcome");
    }
    switch (field) {
      case responseField.leases:
        this.#events.onLeases(frame, start, end);
        return this.#acknowledgeSoon();
      case responseField.verdicts:
        return this.#events.onVerdicts(frame, start, end);
      case responseField.checkpointSaved:
        return this.#events.onCheckpointSaved(fromBinary(CheckpointSavedSchema, frame.subarray(start, end)));
      case responseField.effectVerdict:
        return this.#events.onEffectVerdict(frame.subarray(start, end));
      case responseField.waitVerdict:
        return this.#events.onWaitVerdict(frame.subarray(start, end));
      case responseField.heartbeat:
        return this.#echo(frame.subarray(start, end));
      case responseField.revoke:
        return this.#events.onRevoke(fromBinary(RevokeSchema, frame.subarray(start, end)));
      case responseField.drain: {
        const notice = fromBinary(DrainNoticeSchema, frame.subarray(start, end));
        return this.#events.onHubDrain(durationMs(notice.grace ?? create(DurationSchema)));
      }
    }
  }

  #welcome(welcome: Welcome): void {
    if (this.#stage.name === "live" || this.#stage.name === "closing")
      throw new Error("the hub sent a second welcome");
    this.#clearTimers();
    const now = this.#clock.now();
    const ttlMs = welcome.sessionTtl === undefined ? 30_000 : durationMs(welcome.sessionTtl);
    const intervalMs =
      welcome.heartbeatInterval === undefined ? 5_000 : durationMs(welcome.heartbeatInterval);
    const silenceMs = silenceMaxMs(intervalMs, ttlMs);
    const heartbeat = setInterval(() => this.#beat(), intervalMs);
    this.#stage = {
      name: "live",
      since: now,
      ttlMs,
      pulse: newPulse(now),
      heartbeat,
      silence: this.#silenceIn(silenceMs, silenceMs, intervalMs),
    };
    this.#events.onWelcome(welcome, { helloSentAt: this.#helloSentAt, ttlMs });
    this.#beat();
  }

  #beat(): void {
    if (this.#stage.name !== "live") return;
    const { pulse } = this.#stage;
    const message = create(HeartbeatSchema, { nonce: BigInt(pulse.nextNonce), echo: pulse.hubNonce });
    this.#stage.pulse = beat(pulse, this.#clock.now());
    this.send(requestField.heartbeat, [toBinary(HeartbeatSchema, message)]);
  }

  #silenceIn(ms: number, silenceMs: number, intervalMs: number): NodeJS.Timeout {
    const dueAt = this.#clock.now() + ms;
    return setTimeout(() => this.#onSilence(this.#clock.now() - dueAt, silenceMs, intervalMs), Math.ceil(ms));
  }

  /**
   * A timer that comes late tells of a pause of this process, in which it neither asked nor listened: what the hub said
   * meanwhile may still wait in the socket, so the silence counts anew. One that comes early, or after the hub was
   * heard, waits for the rest.
   */
  #onSilence(lateMs: number, silenceMs: number, intervalMs: number): void {
    const stage = this.#stage;
    if (stage.name !== "live") return;
    const leftMs = lateMs > intervalMs ? silenceMs : stage.pulse.heardAt + silenceMs - this.#clock.now();
    if (leftMs > 0) stage.silence = this.#silenceIn(leftMs, silenceMs, intervalMs);
    else this.abandon(`the hub has echoed no heartbeat for ${Math.round(silenceMs)} ms`);
  }

  #echo(bytes: Uint8Array): void {
    if (this.#stage.name !== "live") return;
    const message = fromBinary(HeartbeatEchoSchema, bytes);
    const { pulse, answered } = heard(this.#stage.pulse, message.echo, message.nonce, this.#clock.now());
    this.#stage.pulse = pulse;
    if (answered === undefined) return;
    this.#events.onEcho(
      answered.sentAt,
      durationMs(message.timeLeft ?? create(DurationSchema)),
      this.#stage.ttlMs,
    );
  }

  /** A message that cannot be understood ends this stream; the next one may be with a better hub. */
  #guard(receive: () => void): void {
    try {
      receive();
    } catch (error) {
      this.abandon(`the hub sent something unreadable: ${error instanceof Error ? error.message : error}`);
    }
  }

  #onStatus(ended: StatusObject): void {
    const stage = this.#stage;
    if (stage.name === "closing") {
      this.#end({ outcome: stage.outcome, liveMs: this.#liveMs() });
    } else if (ended.code === status.OK) {
      this.#end(endOfSilence("the hub closed the stream", this.#liveMs()));
    } else {
      this.#end(endOfFailure(callFailure(ended), this.#liveMs()));
    }
  }

  #liveMs(): number {
    const stage = this.#stage;
    return stage.name === "live" || stage.name === "closing" ? this.#clock.now() - stage.since : 0;
  }

  #clearTimers(): void {
    const stage = this.#stage;
    clearTimeout(this.#acknowledging);
    if (stage.name === "live") {
      clearInterval(stage.heartbeat);
      clearTimeout(stage.silence);
    } else if (stage.name !== "ended") {
      clearTimeout(stage.timer);
    }
  }

  #end(end: AttachmentEnd): void {
    if (this.#stage.name === "ended") return;
    this.#clearTimers();
    this.#stage = { name: "ended" };
    this.#call.cancel();
    this.#client.close();
    this.#resolve(end);
  }
}

export type AttachmentOptions = {
  readonly access: HubAccess;
  readonly address: string;
  /** One that is connected to the hub already; the attachment closes it. */
  readonly client: Client | undefined;
  readonly hello: Hello;
  /** Bound of the wait for connection and welcome. */
  readonly welcomeWithinMs: number;
  /** Of every time that `AttachmentEvents` tells. */
  readonly clock: TrustClock;
};

/** What a stream tells the session. Called in the order of the hub's messages. */
export type AttachmentEvents = {
  onConnected(): void;
  onWelcome(welcome: Welcome, timing: { helloSentAt: number; ttlMs: number }): void;
  onLeases(bytes: Buffer, start: number, end: number): void;
  onVerdicts(bytes: Buffer, start: number, end: number): void;
  onCheckpointSaved(saved: CheckpointSaved): void;
  /** The bytes of a holdfast.v1.EffectVerdict. */
  onEffectVerdict(verdict: Uint8Array): void;
  /** The bytes of a holdfast.v1.WaitVerdict. */
  onWaitVerdict(verdict: Uint8Array): void;
  onRevoke(revoke: Revoke): void;
  /** A heartbeat that was sent at `sentAt` has renewed the session. */
  onEcho(sentAt: number, timeLeftMs: number, ttlMs: number): void;
  onHubDrain(graceMs: number): void;
  onWritable(): void;
  /** Newest delivery received, to acknowledge with whatever is sent. */
  deliveredThrough(): number;
};

type Stage =
  | { readonly name: "connecting" | "attaching"; readonly timer: NodeJS.Timeout }
  | {
      readonly name: "live";
      readonly since: number;
      readonly ttlMs: number;
      pulse: Pulse;
      readonly heartbeat: NodeJS.Timeout;
      silence: NodeJS.Timeout;
    }
  | {
      readonly name: "closing";
      readonly since: number;
      readonly outcome: "served" | "drained";
      readonly timer: NodeJS.Timeout;
    }
  | { readonly name: "ended" };
