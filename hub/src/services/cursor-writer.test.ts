import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Fault } from "../domain/fault.js";
import type { MoveItem, MoveResult } from "../ledger/move-cursors.js";
import { CursorWriter } from "./cursor-writer.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A writer whose writes end when the test says so. */
function open() {
  const writes: { item: MoveItem; end: (result: MoveResult | Error) => Promise<void> }[] = [];
  const durable: MoveItem[] = [];
  const faults: unknown[] = [];
  const ledger = {
    moveCursor: (item: MoveItem) =>
      new Promise<MoveResult>((resolve, reject) => {
        writes.push({
          item,
          end: async (result) => {
            if (result instanceof Error) reject(result);
            else resolve(result);
            await vi.advanceTimersByTimeAsync(0);
          },
        });
      }),
  };
  const writer = new CursorWriter(
    ledger,
    { cursorId: 1, epoch: 3, ackedThrough: 0, deliveredThrough: 0 },
    (item) => durable.push(item),
    (error) => faults.push(error),
  );
  return { writer, writes, durable, faults };
}

describe("what is written of a cursor", () => {
  it("acknowledgements wait for what is delivered next, and go with it", async () => {
    const { writer, writes } = open();

    writer.acknowledged(4);
    writer.acknowledged(5);
    expect(writes).toEqual([]);
    void writer.delivered(9);

    expect(writes.map(({ item }) => item)).toMatchObject([
      { ackedThrough: 5, deliveredThrough: 9, epoch: 3 },
    ]);
  });

  it("acknowledgements are written soon when nothing is delivered", async () => {
    const { writer, writes, durable } = open();

    writer.acknowledged(5);
    await vi.advanceTimersByTimeAsync(20);
    await writes[0]?.end("moved");

    expect(durable).toMatchObject([{ ackedThrough: 5, deliveredThrough: 5 }]);
  });

  it("what comes during a write joins the next, and of checkpoints only the newest is saved", async () => {
    const { writer, writes } = open();
    void writer.delivered(9);
    writer.save({ sequence: 1, state: Buffer.from("a") });
    writer.save({ sequence: 2, state: Buffer.from("b") });
    writer.acknowledged(3);

    await writes[0]?.end("moved");

    expect(writes).toHaveLength(2);
    expect(writes[1]?.item).toMatchObject({
      ackedThrough: 3,
      deliveredThrough: 9,
      checkpoint: { sequence: 2 },
    });
  });

  it("nothing counts as delivered before it is durable", async () => {
    const { writer, writes } = open();
    let isDelivered = false;
    const delivered = writer.delivered(9).then(() => {
      isDelivered = true;
    });

    await vi.advanceTimersByTimeAsync(1_000);
    expect(isDelivered).toBe(false);
    await writes[0]?.end("moved");
    await delivered;
  });

  it("a newer stream is a fault, told once; nothing is written after it", async () => {
    const { writer, writes, faults } = open();
    const delivered = writer.delivered(9);
    delivered.catch(() => undefined);

    await writes[0]?.end("superseded");

    await expect(delivered).rejects.toMatchObject({ reason: "SUPERSEDED" });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toBeInstanceOf(Fault);
    writer.acknowledged(9);
    await writer.settled();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(writes).toHaveLength(1);
  });

  it("settling writes at once what waits", async () => {
    const { writer, writes } = open();
    writer.acknowledged(5);

    const settled = writer.settled();
    await writes[0]?.end("moved");
    await settled;

    expect(writes).toHaveLength(1);
  });
});
