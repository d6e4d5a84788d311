// One Publish stream: a producer and the chain of its numbers. Batches are on their way side by side, and each names
// the number before it, so that none is stored after one that was not.
import type { Channel } from "../domain/channel.js";
import { Fault } from "../domain/fault.js";
import type { PublishItem, PublishResult, SignalPart } from "../ledger/publish-signals.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import type { Producer } from "../ledger/signal-producers.js";
import { joinReceipts, receiptsOf } from "./publish-receipts.js";
import type { PublishReceipt } from "./signal-messages.js";
import type { SignalObserver } from "./signal-observer.js";
import { type NewSignal, toParts } from "./signal-parts.js";
import type { SignalRouter } from "./signal-router.js";

/** Tries of a batch whose predecessors took longer than itself to come to rest. */
const triesMax = 5;

export class SignalPublisher {
  readonly #ledger: Pick<SignalLedger, "publish" | "findNumbers">;
  readonly #router: SignalRouter;
  readonly #observer: SignalObserver;
  readonly #channel: Channel;
  readonly #name: string;
  readonly #producer: Producer;
  readonly #lease: PublishItem["lease"];
  /** The newest number that was handed to the ledger. */
  #lastNumber: number;
  /** Resolves when every batch so far is stored or dropped; rejects when one failed. */
  #settled: Promise<unknown> = Promise.resolve();

  constructor(
    parts: {
      readonly ledger: Pick<SignalLedger, "publish" | "findNumbers">;
      readonly router: SignalRouter;
      readonly observer: SignalObserver;
    },
    channel: Channel,
    name: string,
    producer: Producer,
    lease: PublishItem["lease"],
  ) {
    this.#ledger = parts.ledger;
    this.#router = parts.router;
    this.#observer = parts.observer;
    this.#channel = channel;
    this.#name = name;
    this.#producer = producer;
    this.#lease = lease;
    this.#lastNumber = producer.lastNumber;
  }

  get lastNumber(): number {
    return this.#producer.lastNumber;
  }

  get partitions(): number {
    return this.#channel.partitions;
  }

  /** Stores a batch, whose numbers rise. Answers after the commit. */
  publish(signals: readonly NewSignal[]): Promise<PublishReceipt[]> {
    const known = signals.filter(({ number }) => number <= this.#lastNumber);
    const fresh = known.length === 0 ? signals : signals.slice(known.length);
    const before = this.#settled;
    const previousNumber = this.#lastNumber;
    this.#lastNumber = fresh.at(-1)?.number ?? previousNumber;
    const stored = fresh.length === 0 ? [] : this.#store(fresh, previousNumber, before);
    const done = known.length === 0 ? stored : this.#withKnown(known, stored, before);
    const settled = Promise.all([before, done]);
    settled.catch(() => undefined);
    this.#settled = settled;
    return Promise.resolve(done);
  }

  /** Numbers that were handed over before: where they were stored first (D12). */
  async #withKnown(
    known: readonly NewSignal[],
    stored: PublishReceipt[] | Promise<PublishReceipt[]>,
    before: Promise<unknown>,
  ): Promise<PublishReceipt[]> {
    const both = Promise.all([before.then(() => this.#find(known.map(({ number }) => number))), stored]);
    const [found, fresh] = await both;
    return [...found, ...fresh];
  }

  async #find(numbers: readonly number[]): Promise<PublishReceipt[]> {
    const { producerId } = this.#producer;
    const found = await this.#ledger.findNumbers(producerId, this.#channel.partitions, numbers);
    const places = new Map(found.map((one) => [one.number, one]));
    this.#observer.published(numbers.length, true);
    return joinReceipts(
      numbers.map((number) => {
        const place = places.get(number);
        if (!place)
          throw new Fault(
            "PRODUCER_SEQUENCE_BEHIND",
            `Producer sequence ${number} is not above the newest, and no signal with it is held.`,
            { producer_sequence: String(number), newest: String(this.#lastNumber) },
          );
        const { partition, sequence } = place;
        return { type: "stored", number, count: 1, partition, firstSequence: sequence, isDuplicate: true };
      }),
    );
  }

  async #store(
    signals: readonly NewSignal[],
    previousNumber: number,
    before: Promise<unknown>,
  ): Promise<PublishReceipt[]> {
    const parts = toParts(signals, this.#channel.partitions);
    const numbers = signals.map(({ number }) => number);
    const { producerId, epoch } = this.#producer;
    const { channelId } = this.#channel;
    const item = {
      channelId,
      producerId,
      epoch,
      lastNumber: numbers.at(-1) as number,
      parts,
      lease: this.#lease,
    };
    let from = previousNumber;
    for (let tries = 1; ; tries += 1) {
      const result = await this.#commit({ ...item, previousNumber: from });
      switch (result.type) {
        case "stored":
          return this.#stored(parts, numbers, result);
        case "superseded":
          throw new Fault("SUPERSEDED", `A newer stream of producer ${this.#name} opened.`);
        case "stale_fence":
          throw new Fault("STALE_FENCE", "The lease under which this stream publishes is not current.");
        case "quota_exceeded":
          return this.#refused(numbers, "QUOTA_EXCEEDED");
        case "backlog_full":
          return this.#refused(numbers, "BACKLOG_FULL");
        case "out_of_order": {
          // What came before is still on its way, or was dropped, or this very batch was stored by a try whose
          // answer was lost. Once the others have come to rest the newest stored number tells.
          await before;
          if (result.lastNumber >= item.lastNumber) return await this.#find(numbers);
          if (tries === triesMax)
            throw new Fault("PRODUCER_SEQUENCE_BEHIND", "The producer's numbers came in another order.", {
              newest: String(result.lastNumber),
            });
          from = result.lastNumber;
        }
      }
    }
  }

  async #commit(item: PublishItem): Promise<PublishResult | { readonly type: "backlog_full" }> {
    try {
      return await this.#ledger.publish(item);
    } catch (error) {
      if (error instanceof Fault && error.reason === "BACKLOG_FULL") return { type: "backlog_full" };
      throw error;
    }
  }

  #refused(numbers: readonly number[], reason: "QUOTA_EXCEEDED" | "BACKLOG_FULL"): PublishReceipt[] {
    if (!this.#channel.isBestEffort)
      throw new Fault(
        reason,
        reason === "QUOTA_EXCEEDED"
          ? "The channel holds as much as its policy allows."
          : "The hub's write queue is full; try again shortly.",
        reason === "QUOTA_EXCEEDED" ? { limit: "max_bytes", value: String(this.#channel.maxBytes) } : {},
        { retryAfterMs: 1_000 },
      );
    this.#observer.dropped(numbers.length, reason.toLowerCase());
    return numbers.map((number) => ({ type: "dropped", number, count: 1, reason }));
  }

  #stored(
    parts: readonly SignalPart[],
    numbers: readonly number[],
    result: Extract<PublishResult, { type: "stored" }>,
  ): PublishReceipt[] {
    this.#observer.published(numbers.length, false);
    parts.forEach((part, at) => {
      const firstSequence = result.firstSequences[at] as number;
      this.#router.published(this.#channel.channelId, part.partition, {
        firstSequence,
        lastSequence: firstSequence + part.numbers.length - 1,
        publishedAtMs: result.atMs,
        producer: this.#name,
        body: part.body,
      });
    });
    const [only] = parts;
    if (parts.length === 1 && only)
      return joinReceipts(receiptsOf(only, result.firstSequences[0] as number, numbers));
    const receipts = parts.flatMap((part, at) =>
      receiptsOf(part, result.firstSequences[at] as number, part.numbers),
    );
    return joinReceipts(receipts.sort((a, b) => a.number - b.number));
  }
}
