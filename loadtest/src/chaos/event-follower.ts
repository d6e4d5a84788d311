// A consumer of the stream of events, for as long as chaos lasts: it reads what is forwarded, drops what it has seen,
// and remembers what came, so that it can be held against the ledger.
import { setTimeout as delay } from "node:timers/promises";
import { DeliverPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";

/** An event by its job and revision. */
export interface EventName {
  readonly jobId: string;
  readonly revision: number;
}

const stream = "holdfast_EVENTS";
const batch = { max_messages: 2_000, expires: 1_000 };
const againAfterMs = 200;

export class EventFollower {
  /** Events that came after a later one of their job, and had not come before. */
  readonly late: EventName[] = [];
  readonly #connection: NatsConnection;
  readonly #closing = new AbortController();
  readonly #following: Promise<void>;
  /** By job, a bit for each revision that came. */
  readonly #seen = new Map<string, number>();
  #made = "";
  #nextSequence = 1;

  private constructor(connection: NatsConnection) {
    this.#connection = connection;
    this.#following = this.#follow();
  }

  static async open(natsUrl: string): Promise<EventFollower> {
    const servers = natsUrl.split(",");
    return new EventFollower(
      await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: againAfterMs }),
    );
  }

  hasSeen({ jobId, revision }: EventName): boolean {
    return ((this.#seen.get(jobId) ?? 0) & bitOf(revision)) !== 0;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connection.close();
    await this.#following;
  }

  async #follow(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await this.#readOn();
      } catch {
        // The stream, or a server, is away for a while; what was missed is read later.
        await delay(againAfterMs);
      }
    }
  }

  async #readOn(): Promise<void> {
    const { created } = await (await jetstreamManager(this.#connection)).streams.info(stream);
    if (created !== this.#made) {
      this.#made = created;
      this.#nextSequence = 1;
    }
    const consumer = await jetstream(this.#connection).consumers.get(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#nextSequence,
    });
    for await (const message of await consumer.fetch(batch)) {
      this.#take(message);
      this.#nextSequence = message.seq + 1;
    }
  }

  #take(message: JsMsg): void {
    const { jobId, revision } = message.json<Partial<EventName>>();
    if (jobId === undefined || revision === undefined) return;
    const seen = this.#seen.get(jobId) ?? 0;
    const bit = bitOf(revision);
    if ((seen & bit) !== 0) return;
    if (seen > bit) this.late.push({ jobId, revision });
    this.#seen.set(jobId, seen | bit);
  }
}

/** A job of chaos has a handful of revisions. */
function bitOf(revision: number): number {
  if (revision > 30) throw new RangeError(`A job has reached revision ${revision}.`);
  return 1 << revision;
}
