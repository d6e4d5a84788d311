// The laws of publishing: whatever is published, again, side by side, over which hub, and whoever crashes in between,
// each number of each producer has one place, and places have no gap (D11, D12).
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { SignalPublisher } from "../../src/services/signal-publisher.js";
import { operator } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { anybody, named, openSignalStack, recordOf, type SignalStack } from "../harness/signal-stack.js";

const partitions = 3;
const producers = 2;

let room: LedgerRoom;
let other: Ledger;
beforeAll(async () => {
  room = await openLedgerRoom();
  other = await room.openLedger();
});
afterAll(async () => {
  await room.close();
});

/** What one producer does: new signals with gaps between their numbers, old ones again, or both in one batch. */
const act = fc.record({
  producer: fc.nat(producers - 1),
  again: fc.nat(4),
  gaps: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 5 }),
  key: fc.nat(5),
});
/** Acts of a turn go side by side; after it the hub of a producer may crash, and another goes on. */
const turn = fc.record({
  acts: fc.array(act, { minLength: 1, maxLength: 4 }),
  crash: fc.option(fc.nat(producers - 1)),
});

interface Producer {
  stack: SignalStack;
  publisher: SignalPublisher;
  /** Numbers in order, with the key of each. */
  readonly numbers: { readonly number: number; readonly key: string }[];
}

let channels = 0;

async function openOn(ledger: Ledger, channel: string, at: number) {
  const stack = openSignalStack(ledger);
  const link = { pause: () => undefined, resume: () => undefined, end: () => undefined };
  const publisher = await stack.publishers.open(anybody, named(channel), `producer ${at}`, null, link);
  return { stack, publisher };
}

it("gives each number one place, and leaves no gap, over every history (D11, D12)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { minLength: 1, maxLength: 6 }), async (history) => {
      const channel = `published-${++channels}`;
      const { channels: made } = openSignalStack(room.ledger);
      const policy = (await made.ensure(anybody, named(`${channel}.policy`))) as never;
      await made.configure(operator(), named(channel), partitions, policy);
      const all: Producer[] = [];
      for (let at = 0; at < producers; at += 1)
        all.push({ ...(await openOn(at === 0 ? room.ledger : other, channel, at)), numbers: [] });
      const places = new Map<string, string>();

      for (const { acts, crash } of history) {
        await Promise.all(acts.map((one) => publish(all[one.producer] as Producer, one, places)));
        if (crash !== null) {
          const crashed = all[crash] as Producer;
          // A new hub learns the newest number from the ledger.
          Object.assign(crashed, await openOn(crash === 0 ? other : room.ledger, channel, crash));
          expect(crashed.publisher.lastNumber).toBe(crashed.numbers.at(-1)?.number ?? 0);
        }
      }

      const { heads } = await made.held(anybody, named(channel));
      expect(new Set(places.values()).size).toBe(places.size);
      expect(heads.reduce((sum, head) => sum + head.lastSequence, 0)).toBe(places.size);
      for (const { channelId, partition, lastSequence } of heads) {
        const pages = await room.ledger.signals.readSignals(channelId, partition, 1, 1 << 20);
        let next = 1;
        for (const page of pages) {
          expect(page.firstSequence).toBe(next);
          next = page.lastSequence + 1;
        }
        expect(next).toBe(lastSequence + 1);
      }
    }),
    { numRuns: 25, endOnFailure: true },
  );
});

async function publish(
  producer: Producer,
  { producer: which, again, gaps, key }: { producer: number; again: number; gaps: number[]; key: number },
  places: Map<string, string>,
): Promise<void> {
  const old = again === 0 ? [] : producer.numbers.slice(-again);
  let last = producer.numbers.at(-1)?.number ?? 0;
  const fresh = gaps.map((gap, at) => {
    last += gap;
    return { number: last, key: `key ${key + at}` };
  });
  producer.numbers.push(...fresh);
  const batch = [...old, ...fresh];
  if (batch.length === 0) return;
  const signals = batch.map((one) => ({ ...one, record: recordOf(one.number) }));
  const receipts = await producer.publisher.publish(signals);
  // Receipts are in order of the numbers; each is about so many of the batch.
  let at = 0;
  for (const receipt of receipts) {
    if (receipt.type !== "stored") throw new Error("a signal was dropped");
    for (let offset = 0; offset < receipt.count; offset += 1, at += 1) {
      const name = `${which}/${batch[at]?.number}`;
      const place = `${receipt.partition}/${receipt.firstSequence + offset}`;
      expect(places.get(name) ?? place).toBe(place);
      places.set(name, place);
    }
  }
  expect(at).toBe(batch.length);
}
