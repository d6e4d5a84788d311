// The work-queue stream that the hubs of a fleet share, and what it is asked for: to store refs of a lane, and to hand
// them to one hub each. A subject per lane, and on it one durable consumer for all hubs.
//
//   away ──link up──► opening ──stream is there──► open        open ──link down, stream gone──► away
//
// A stream is known by the time it was created: one that was deleted, wiped or made anew has lost what waited in it,
// and whoever hears `opened` with `isNew` looks in the ledger (D9).
import {
  AckPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamInfo,
} from "@nats-io/jetstream";
import { createInbox, type Msg, type NatsConnection, nanos } from "@nats-io/transport-node";
import type { NatsLink } from "../nats/nats-link.js";

export interface LaneStreamSettings {
  /** First part of the stream's name and of every subject. */
  readonly prefix: string;
  /** Copies of the stream in the cluster; 0: 3 if it has so many servers, else 1. */
  readonly replicas: number;
  /** A message that was handed out and not heard of for so long goes to another hub. */
  readonly ackWaitMs: number;
  /** The consumer of a lane that nobody asks for goes after this long; its messages stay. */
  readonly consumerIdleMs: number;
}

export interface LaneStreamEvents {
  /** The stream can be used; `isNew`: what was stored before is lost. */
  readonly opened: (isNew: boolean) => void;
  readonly lost: () => void;
}

/** One request for messages, answered as they come, until it ends. */
export interface LanePull {
  cancel(): void;
}

export interface LanePullRequest {
  readonly messagesMax: number;
  readonly bytesMax: number;
  readonly expiresMs: number;
}

interface Opened {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
}

const requestTimeoutMs = 2_000;
const checkIntervalMs = 5_000;
const retryAfterMs = 1_000;
const messagesPerLaneMax = 20_000;
const duplicateWindowMs = 10_000;
/** Messages of a lane that are in the hands of hubs at once. */
const handedOutMax = 20_000;

export class LaneStream {
  readonly name: string;
  readonly #link: NatsLink;
  readonly #settings: LaneStreamSettings;
  readonly #events: LaneStreamEvents;
  readonly #log: (line: string) => void;
  readonly #forget: (() => void)[] = [];
  readonly #checking = setInterval(() => void this.#check(), checkIntervalMs);
  #state: { readonly type: "away" | "opening" | "stopped" } | ({ readonly type: "open" } & Opened) = {
    type: "away",
  };
  #createdAt: string | null = null;
  #isChecking = false;
  #hasSpoken = false;
  #said = "";

  constructor(
    link: NatsLink,
    settings: LaneStreamSettings,
    events: LaneStreamEvents,
    log: (line: string) => void,
  ) {
    this.name = `${settings.prefix}_LANES`;
    this.#link = link;
    this.#settings = settings;
    this.#events = events;
    this.#log = log;
  }

  start(): void {
    this.#forget.push(this.#link.onUp((connection) => void this.#open(connection)));
    this.#forget.push(this.#link.onDown(() => this.#lose()));
  }

  stop(): void {
    this.#state = { type: "stopped" };
    clearInterval(this.#checking);
    for (const forget of this.#forget) forget();
  }

  get isOpen(): boolean {
    return this.#state.type === "open";
  }

  /** Stores a message of a lane; tried twice under one id, so that it is stored once. */
  async publish(laneId: number, payload: Uint8Array, messageId: string): Promise<void> {
    const { client } = this.#opened();
    const options = { msgID: messageId, timeout: requestTimeoutMs, retries: 2 };
    try {
      await client.publish(this.#subject(laneId), payload, options);
    } catch (error) {
      void this.#check();
      throw error;
    }
  }

  /** Makes the consumer of a lane unless it is there. */
  async ensureConsumer(laneId: number): Promise<void> {
    const { manager } = this.#opened();
    try {
      await manager.consumers.add(this.name, {
        durable_name: consumerName(laneId),
        filter_subject: this.#subject(laneId),
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(this.#settings.ackWaitMs),
        max_deliver: -1,
        max_ack_pending: handedOutMax,
        inactive_threshold: nanos(this.#settings.consumerIdleMs),
      });
    } catch (error) {
      void this.#check();
      throw error;
    }
  }

  /** Asks for messages of a lane: `arrived` is called with each, `ended` once, unless the pull was cancelled. */
  pull(
    laneId: number,
    request: LanePullRequest,
    arrived: (message: Msg) => void,
    ended: (isRefused: boolean) => void,
  ): LanePull {
    const { connection } = this.#opened();
    const inbox = createInbox();
    let messagesLeft = request.messagesMax;
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      isOver = true;
      clearTimeout(late);
      if (!connection.isClosed()) subscription.unsubscribe();
      return true;
    };
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (isOver) return;
        const status = error ? 503 : (message.headers?.code ?? 0);
        if (status === 100) return;
        if (status === 0) {
          messagesLeft -= 1;
          arrived(message);
        }
        if ((status !== 0 || messagesLeft === 0) && end()) ended(isRefusal(status, message));
      },
    });
    // The server says when a request has run out of time; one that went down says nothing.
    const late = setTimeout(() => {
      if (end()) ended(true);
    }, request.expiresMs + requestTimeoutMs);
    connection.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${this.name}.${consumerName(laneId)}`,
      JSON.stringify({
        batch: request.messagesMax,
        max_bytes: request.bytesMax,
        expires: nanos(request.expiresMs),
      }),
      { reply: inbox },
    );
    return { cancel: () => void end() };
  }

  /** Everything that was published before, acknowledgements among it, has reached the server. */
  async flush(): Promise<void> {
    if (this.#state.type === "open") await this.#state.connection.flush().catch(() => undefined);
  }

  #subject(laneId: number): string {
    return `${this.#settings.prefix}.lane.${laneId}`;
  }

  #opened(): Opened {
    if (this.#state.type !== "open") throw new Error("The stream of lanes is away.");
    return this.#state;
  }

  async #open(connection: NatsConnection): Promise<void> {
    if (this.#state.type === "opening" || this.#state.type === "stopped") return;
    if (this.#state.type === "open") this.#lose();
    const opening = { type: "opening" as const };
    this.#state = opening;
    try {
      const manager = await jetstreamManager(connection, { timeout: requestTimeoutMs, checkAPI: false });
      const { info, wasMade } = await this.#ensureStream(manager, connection);
      if (this.#state !== opening) return;
      const isNew = wasMade || (this.#createdAt !== null && this.#createdAt !== info.created);
      this.#createdAt = info.created;
      this.#said = "";
      this.#state = { type: "open", connection, manager, client: jetstream(connection) };
      this.#sayWhatRestsOnIt(info, isNew);
      this.#events.opened(isNew);
    } catch (error) {
      if (this.#state !== opening) return;
      this.#state = { type: "away" };
      this.#saySo(`the stream ${this.name} cannot be opened: ${textOf(error)}`);
      setTimeout(() => this.#openAgain(), retryAfterMs).unref();
    }
  }

  #openAgain(): void {
    const { state } = this.#link;
    if (state.status === "up" && this.#state.type === "away") void this.#open(state.connection);
  }

  #lose(): void {
    if (this.#state.type === "stopped") return;
    const wasOpen = this.#state.type === "open";
    this.#state = { type: "away" };
    if (wasOpen) this.#events.lost();
  }

  async #ensureStream(
    manager: JetStreamManager,
    connection: NatsConnection,
  ): Promise<{ info: StreamInfo; wasMade: boolean }> {
    const found = await this.#find(manager);
    if (found) return { info: found, wasMade: false };
    const asked = this.#settings.replicas;
    const servers = new Set(connection.info?.connect_urls ?? []).size;
    try {
      return { info: await this.#make(manager, asked || (servers >= 3 ? 3 : 1)), wasMade: true };
    } catch (error) {
      if (asked !== 0) throw error;
      return { info: await this.#make(manager, 1), wasMade: true };
    }
  }

  #make(manager: JetStreamManager, replicas: number): Promise<StreamInfo> {
    return manager.streams.add({
      name: this.name,
      subjects: [`${this.#settings.prefix}.lane.*`],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
      num_replicas: replicas,
      discard: DiscardPolicy.New,
      discard_new_per_subject: true,
      max_msgs_per_subject: messagesPerLaneMax,
      duplicate_window: nanos(duplicateWindowMs),
    });
  }

  async #find(manager: JetStreamManager): Promise<StreamInfo | null> {
    try {
      return await manager.streams.info(this.name);
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return null;
      throw error;
    }
  }

  /** Whether the stream is still the one that was opened. */
  async #check(): Promise<void> {
    if (this.#state.type !== "open" || this.#isChecking) return;
    this.#isChecking = true;
    const { manager, connection } = this.#state;
    try {
      const info = await this.#find(manager);
      if (this.#state.type === "open" && info?.created !== this.#createdAt) await this.#open(connection);
    } catch (error) {
      this.#saySo(`the stream ${this.name} does not answer: ${textOf(error)}`);
    } finally {
      this.#isChecking = false;
    }
  }

  #sayWhatRestsOnIt({ config }: StreamInfo, isNew: boolean): void {
    if (isNew && this.#hasSpoken)
      this.#log(`warning: the stream ${this.name} was lost; what waited in it is found in the ledger`);
    if (this.#hasSpoken) return;
    this.#hasSpoken = true;
    const { num_replicas: replicas, storage } = config;
    const unsafe = [
      ...(replicas < 3 ? [`${replicas} ${replicas === 1 ? "copy" : "copies"}`] : []),
      ...(storage === StorageType.File ? [] : ["kept in memory"]),
      "flushed to disk as often as the servers' sync_interval says, which a client cannot read",
    ];
    this.#log(
      `lanes are shared over the stream ${this.name} (${unsafe.join("; ")}): it may lose messages. Nothing but speed rests on it: every ready job is in the ledger and is dispatched from there.`,
    );
  }

  #saySo(why: string): void {
    if (why !== this.#said) this.#log(`warning: ${why}; going on from the ledger, slower, and trying on`);
    this.#said = why;
  }
}

function consumerName(laneId: number): string {
  return `lane-${laneId}`;
}

/** An end other than that the time or the bytes of the request were used up: the consumer is gone, or refuses. */
function isRefusal(status: number, message: Msg | null): boolean {
  if (status === 0 || status === 408) return false;
  return !(status === 409 && /maxbytes/i.test(message?.headers?.description ?? ""));
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
