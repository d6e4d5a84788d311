// The worst that can happen to a consumer: it, the hub, or both crash after any step of any history. Whatever the
// history was, the next attach gives the newest checkpoint and everything after it (D13, D14).
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Ledger } from "../../src/ledger/ledger.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";
import {
  anybody,
  consume,
  named,
  openSignalStack,
  recordOf,
  type SignalStack,
  type Told,
} from "../harness/signal-stack.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(async () => {
  await room.close();
});

type Step =
  | { readonly type: "publish"; readonly signals: number }
  | { readonly type: "read"; readonly signals: number }
  | { readonly type: "ack"; readonly first: number; readonly count: number }
  | { readonly type: "checkpoint"; readonly back: number }
  | { readonly type: "consumer_crash" }
  | { readonly type: "hub_crash" }
  | { readonly type: "both_crash" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant("publish" as const), signals: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ type: fc.constant("read" as const), signals: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ type: fc.constant("ack" as const), first: fc.nat(12), count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ type: fc.constant("checkpoint" as const), back: fc.nat(3) }),
  fc.constant({ type: "consumer_crash" as const }),
  fc.constant({ type: "hub_crash" as const }),
  fc.constant({ type: "both_crash" as const }),
);

/** What must hold, kept beside the hub. */
interface Model {
  published: number;
  delivered: number;
  readonly acked: Set<number>;
  ackedThrough: number;
  checkpoint: { readonly sequence: number; readonly state: string } | null;
}

let channels = 0;

class House {
  readonly name = `history-${++channels}`;
  readonly model: Model = { published: 0, delivered: 0, acked: new Set(), ackedThrough: 0, checkpoint: null };
  #stack: SignalStack;
  #consumer: Told | null = null;
  /** The highest sequence sent on the stream that is open now. */
  #position = 0;
  #states = 0;

  constructor(ledger: Ledger) {
    this.#stack = openSignalStack(ledger);
  }

  async run(ledger: Ledger, act: Step): Promise<void> {
    const { model } = this;
    switch (act.type) {
      case "publish":
        return await this.#publish(act.signals);
      case "read":
        return await this.#read(act.signals);
      case "ack": {
        const first = Math.min(act.first + 1, model.delivered);
        const last = Math.min(first + act.count - 1, model.delivered);
        if (first < 1) return;
        const consumer = await this.#attached();
        consumer.subscription.acknowledge(0, [{ first, last }]);
        for (let at = first; at <= last; at += 1) model.acked.add(at);
        return await this.#settle(consumer);
      }
      case "checkpoint": {
        const sequence = model.delivered - act.back;
        if (sequence < Math.max(model.checkpoint?.sequence ?? 0, 1)) return;
        const consumer = await this.#attached();
        const state = `state ${++this.#states}`;
        const saved = consumer.messages.length;
        consumer.subscription.save(0, sequence, Buffer.from(state));
        await until(
          () => consumer.messages.slice(saved).some(({ type }) => type === "checkpoint_saved"),
          "the checkpoint saved",
        );
        model.checkpoint = { sequence, state };
        for (let at = 1; at <= sequence; at += 1) model.acked.add(at);
        return await this.#settle(consumer);
      }
      case "consumer_crash":
        this.#consumer?.subscription.end(null);
        return this.#forget();
      case "hub_crash":
      case "both_crash":
        // Nothing of the old hub is asked to finish.
        this.#stack = openSignalStack(ledger);
        return this.#forget();
    }
  }

  /** What the next attach must give, checked in full. */
  async expectRestored(): Promise<void> {
    const { model } = this;
    const consumer = await consume(this.#stack, this.name);
    consumer.subscription.grant(1_000, 1 << 20);
    await consumer.told("caught_up");
    const position = model.checkpoint?.sequence ?? model.ackedThrough;
    const [restored, ...rest] = consumer.messages;
    expect(restored).toMatchObject({ type: "restored", ackedThrough: model.ackedThrough, position });
    const checkpoint = restored?.type === "restored" ? restored.checkpoint : null;
    expect(
      checkpoint && { sequence: checkpoint.sequence, state: Buffer.from(checkpoint.state).toString() },
    ).toEqual(model.checkpoint);
    expect(consumer.sent()).toEqual(
      Array.from({ length: model.published - position }, (_, at) => ({
        sequence: position + 1 + at,
        isRedelivered: position + 1 + at <= model.delivered,
      })),
    );
    expect(rest.at(-1)).toEqual({ type: "caught_up", partition: 0, sequence: model.published });
    consumer.subscription.end(null);
    await this.#stack.signals.unsubscribe(consumer.subscription);
  }

  async #publish(count: number): Promise<void> {
    const link = { pause: () => undefined, resume: () => undefined, end: () => undefined };
    const publisher = await this.#stack.publishers.open(anybody, named(this.name), "model", null, link);
    const { published } = this.model;
    // A producer that restarts goes on after what is stored, whoever crashed.
    expect(publisher.lastNumber).toBe(published);
    const numbers = Array.from({ length: count }, (_, at) => published + 1 + at);
    const signals = numbers.map((number) => ({ number, key: "", record: recordOf(number) }));
    expect(await publisher.publish(signals)).toEqual([
      {
        type: "stored",
        number: published + 1,
        count,
        partition: 0,
        firstSequence: published + 1,
        isDuplicate: false,
      },
    ]);
    this.model.published += count;
    this.#stack.publishers.close(link);
  }

  async #read(count: number): Promise<void> {
    const { model } = this;
    const consumer = await this.#attached();
    // What comes again spends no credit; what is new does.
    const wanted = Math.min(model.published, model.delivered + count);
    consumer.subscription.grant(wanted - model.delivered, 1 << 20);
    await until(() => (consumer.sent().at(-1)?.sequence ?? this.#position) >= wanted, "the signals read");
    model.delivered = wanted;
    this.#position = wanted;
  }

  async #attached(): Promise<Told> {
    if (this.#consumer) return this.#consumer;
    const consumer = await consume(this.#stack, this.name);
    this.#consumer = consumer;
    this.#position = this.model.checkpoint?.sequence ?? this.model.ackedThrough;
    return consumer;
  }

  /** Waits until the watermark that the model says is durable. */
  async #settle(consumer: Told): Promise<void> {
    const { model } = this;
    const before = model.ackedThrough;
    while (model.acked.has(model.ackedThrough + 1)) model.ackedThrough += 1;
    if (model.ackedThrough > before)
      await consumer.told("cursor", ({ ackedThrough }) => ackedThrough === model.ackedThrough);
  }

  /** What was acknowledged above the watermark is known to the stream only. */
  #forget(): void {
    this.#consumer = null;
    for (const sequence of this.model.acked)
      if (sequence > this.model.ackedThrough) this.model.acked.delete(sequence);
  }
}

it("gives the newest checkpoint and all after it, after every prefix of a history with crashes (D13, D14)", async () => {
  const other = await room.openLedger();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (history) => {
      for (let length = 1; length <= history.length; length += 1) {
        const house = new House(room.ledger);
        for (const [at, act] of history.slice(0, length).entries())
          await house.run(at % 2 === 0 ? room.ledger : other, act);
        await house.expectRestored();
      }
    }),
    { numRuns: 12, endOnFailure: true },
  );
});
