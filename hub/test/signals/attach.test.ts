import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { SignalLedger } from "../../src/ledger/signal-ledger.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { anybody, consume, named, openSignalStack, recordOf } from "../harness/signal-stack.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(async () => {
  await room.close();
});

/** A consumer with a checkpoint at 2 of 3 signals. */
async function openConsumed(name: string): Promise<void> {
  const stack = openSignalStack(room.ledger);
  const link = { pause: () => undefined, resume: () => undefined, end: () => undefined };
  const publisher = await stack.publishers.open(anybody, named(name), "p", null, link);
  await publisher.publish([1, 2, 3].map((number) => ({ number, key: "", record: recordOf(number) })));
  const consumer = await consume(stack, name);
  consumer.subscription.grant(10, 1 << 20);
  await consumer.told("caught_up");
  consumer.subscription.save(0, 2, Buffer.from("state"));
  await consumer.told("checkpoint_saved");
  consumer.subscription.end(null);
  await stack.signals.unsubscribe(consumer.subscription);
}

function failing(reads: Partial<SignalLedger>): Pick<Ledger, "signals"> {
  return { signals: { ...room.ledger.signals, ...reads } };
}

describe("an attach never pretends that there is no checkpoint (D14)", () => {
  const broken = async () => {
    throw new Error("the disk is on fire");
  };

  test.each([
    ["the cursor", { attachCursor: broken }],
    ["the checkpoint", { readCheckpoint: broken }],
    ["what failed before", { readFailedSignals: broken }],
    ["the head of the partition", { readHeads: broken }],
  ])("when %s cannot be read it fails, and the next one gets everything", async (what, reads) => {
    const name = `broken-${what.replaceAll(" ", "-")}`;
    await openConsumed(name);

    await expect(consume(openSignalStack(failing(reads)), name)).rejects.toThrow("on fire");

    const again = await consume(openSignalStack(room.ledger), name);
    expect(again.messages[0] ?? (await again.told("restored"))).toMatchObject({
      type: "restored",
      checkpoint: { sequence: 2, state: Buffer.from("state") },
    });
    again.subscription.end(null);
  });

  test("when the checkpoint that the cursor speaks of is not there it fails", async () => {
    await openConsumed("missing");

    const lost = failing({ readCheckpoint: async () => null });

    await expect(consume(openSignalStack(lost), "missing")).rejects.toThrow("is missing");
  });
});
