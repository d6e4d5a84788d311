// Events as messages of one JetStream stream, `<prefix>_EVENTS`, on files: a message per event, on the subject
// `<prefix>.event.<tenant>.<type>`, CloudEvents attributes in its headers and JSON in its body.
//
// Invariants
//  1. `Nats-Msg-Id` is the event's id: within the stream's duplicate window the server stores it once.
//  2. A batch is durable when the server has acknowledged every message of it. Messages on their way are those of the
//     batches that the forwarder waits for.
//  3. The stream is made when it is missing, also after NATS was wiped: it is a copy, the ledger has the facts.
import { JetStreamApiError, type JetStreamManager, jetstreamManager, StorageType } from "@nats-io/jetstream";
import {
  createInbox,
  headers,
  type Msg,
  type NatsConnection,
  type Subscription,
} from "@nats-io/transport-node";
import type { Outgoing } from "../domain/forwarded-event.js";
import type { NatsLink } from "../nats/nats-link.js";
import { toCloudEvent } from "./cloud-event.js";
import { type EventSink, SinkError } from "./sink.js";

export interface JetStreamSinkSettings {
  /** First part of the stream's name and of every subject. */
  readonly prefix: string;
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  /** How long the server knows ids again. */
  readonly dedupeWindowMs: number;
  readonly ackTimeoutMs: number;
}

/** In place of a tenant's name, which cannot hold it: nobody's, or retention has dropped the job. */
const noTenant = "_";
const streamNotFound = 10_059;

interface Ready {
  readonly connection: NatsConnection;
  readonly inbox: string;
  readonly answers: Subscription;
}

/** Messages that wait for their acknowledgement. */
interface Waiting {
  missing: number;
  readonly isDone: Promise<void>;
  readonly settle: (error?: Error) => void;
}

export class JetStreamSink implements EventSink {
  readonly name: string;
  readonly #link: NatsLink;
  readonly #settings: JetStreamSinkSettings;
  readonly #forgetDown: () => void;
  #ready: Ready | undefined;
  /** Batches that come meanwhile wait for the same. */
  #preparing: { readonly connection: NatsConnection; readonly done: Promise<Ready> } | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #batches = 0;
  #isClosed = false;

  constructor(link: NatsLink, settings: JetStreamSinkSettings) {
    this.name = "nats";
    this.#link = link;
    this.#settings = settings;
    this.#forgetDown = link.onDown(() => this.#settleAll(new SinkError("NATS was lost.")));
  }

  async publish(batch: readonly Outgoing[]): Promise<void> {
    const { connection, inbox } = await this.#prepare();
    if (this.#isClosed) throw new SinkError("The sink is closed.");
    this.#batches += 1;
    const number = this.#batches;
    const waiting = waitFor(batch.length, this.#settings.ackTimeoutMs);
    this.#waiting.set(number, waiting);
    try {
      for (const outgoing of batch) this.#send(connection, `${inbox}.${number}`, outgoing);
    } catch (error) {
      waiting.settle(new SinkError("NATS does not take a message.", { cause: error }));
    }
    await waiting.isDone.finally(() => this.#waiting.delete(number));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#forgetDown();
    this.#settleAll(new SinkError("The sink is closed."));
    this.#forgetConnection();
  }

  #settleAll(error: SinkError): void {
    for (const waiting of this.#waiting.values()) waiting.settle(error);
  }

  #forgetConnection(): void {
    this.#ready?.answers.unsubscribe();
    this.#ready = undefined;
  }

  #send(connection: NatsConnection, reply: string, outgoing: Outgoing): void {
    const { prefix } = this.#settings;
    const { attributes, tenant, shortType, data } = toCloudEvent(outgoing, prefix);
    let block = `NATS/1.0\r\nNats-Msg-Id: ${attributes.id}\r\ncontent-type: application/json\r\n`;
    for (const name in attributes) block += `ce-${name}: ${attributes[name]}\r\n`;
    const encoded = Buffer.from(`${block}\r\n`, "latin1");
    // The client would check and fold every name and value each time; ours are plain by how they are made.
    const plain = Object.assign(headers(), { encode: () => encoded });
    connection.publish(`${prefix}.event.${tenant ?? noTenant}.${shortType}`, data, { headers: plain, reply });
  }

  /** A connection with the stream behind it; looked for once for each connection, and again when it was missed. */
  async #prepare(): Promise<Ready> {
    const { state } = this.#link;
    if (state.status !== "up") throw new SinkError("NATS is away.");
    const { connection } = state;
    if (this.#ready?.connection === connection) return this.#ready;
    if (this.#preparing?.connection !== connection) {
      const done = this.#open(connection).finally(() => {
        if (this.#preparing?.done === done) this.#preparing = undefined;
      });
      this.#preparing = { connection, done };
    }
    return await this.#preparing.done;
  }

  async #open(connection: NatsConnection): Promise<Ready> {
    this.#forgetConnection();
    try {
      await ensureStream(
        await jetstreamManager(connection, { timeout: this.#settings.ackTimeoutMs }),
        this.#settings,
      );
    } catch (error) {
      throw new SinkError(`The stream of events cannot be made: ${(error as Error).message}`, {
        cause: error,
      });
    }
    const inbox = createInbox();
    const answers = connection.subscribe(`${inbox}.*`, {
      callback: (_error, message) => this.#hear(message),
    });
    this.#ready = { connection, inbox, answers };
    return this.#ready;
  }

  #hear(message: Msg): void {
    const waiting = this.#waiting.get(Number(message.subject.slice(message.subject.lastIndexOf(".") + 1)));
    // An answer to a batch that was given up.
    if (!waiting) return;
    const refusal = refusalIn(message);
    // Others may listen on the subjects, and answer: that stores nothing.
    if (refusal === null && !message.string().includes(`"stream":"${streamName(this.#settings)}"`)) return;
    if (refusal === null) {
      waiting.missing -= 1;
      if (waiting.missing === 0) waiting.settle();
      return;
    }
    // The stream may be gone: it is looked for again.
    this.#forgetConnection();
    waiting.settle(new SinkError(`NATS refused an event: ${refusal}`));
  }
}

/** Null when the message was stored, now or before. */
function refusalIn(message: Msg): string | null {
  if (message.headers?.code) return `${message.headers.code} ${message.headers.description}`.trim();
  const text = message.string();
  if (!text.includes('"error"')) return null;
  const { error } = JSON.parse(text) as { error?: { description?: string } };
  return error ? (error.description ?? "no reason given") : null;
}

function waitFor(messages: number, timeoutMs: number): Waiting {
  let settle: Waiting["settle"] = () => undefined;
  const isDone = new Promise<void>((resolve, reject) => {
    const late = setTimeout(
      () => settle(new SinkError(`NATS did not acknowledge within ${timeoutMs} ms.`)),
      timeoutMs,
    );
    settle = (error) => {
      clearTimeout(late);
      if (error) reject(error);
      else resolve();
    };
  });
  if (messages === 0) settle();
  return { missing: messages, isDone, settle };
}

const nanosecondsPerMs = 1_000_000;

/** Makes the stream, or gives it the limits that are asked for; its number of replicas is left to the operator. */
function streamName({ prefix }: JetStreamSinkSettings): string {
  return `${prefix}_EVENTS`;
}

async function ensureStream(manager: JetStreamManager, settings: JetStreamSinkSettings): Promise<void> {
  const name = streamName(settings);
  const wanted = {
    subjects: [`${settings.prefix}.event.>`],
    max_age: settings.maxAgeMs * nanosecondsPerMs,
    max_bytes: settings.maxBytes,
    duplicate_window: settings.dedupeWindowMs * nanosecondsPerMs,
  };
  try {
    const { config } = await manager.streams.info(name);
    const isAsWanted = (["max_age", "max_bytes", "duplicate_window"] as const).every(
      (field) => config[field] === wanted[field],
    );
    if (!isAsWanted) await manager.streams.update(name, wanted);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== streamNotFound) throw error;
    await manager.streams.add({ name, storage: StorageType.File, ...wanted });
  }
}
