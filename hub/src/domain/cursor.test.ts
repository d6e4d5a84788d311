import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  acknowledge,
  type Cursor,
  isAcknowledged,
  noteSent,
  openCursor,
  type SequenceRange,
} from "./cursor.js";

const sent = 60;
const ranges = fc.array(
  fc.tuple(fc.integer({ min: 1, max: sent }), fc.integer({ min: 0, max: 5 })).map(([first, more]) => ({
    first,
    last: Math.min(first + more, sent),
  })),
  { minLength: 1, maxLength: 6 },
);

function acked(cursor: Cursor, given: readonly SequenceRange[]): Cursor {
  const outcome = acknowledge(cursor, given);
  if (outcome.type !== "acknowledged") throw new Error(outcome.type);
  return outcome.cursor;
}

describe("the cursor (D13)", () => {
  it("does not move past 4 when 11 is acknowledged while 5 is open", () => {
    const cursor = acked(openCursor(4, 20), [{ first: 6, last: 11 }]);
    expect(cursor.ackedThrough).toBe(4);
    expect(acked(cursor, [{ first: 5, last: 5 }]).ackedThrough).toBe(11);
  });

  it("is the contiguous low-watermark of whatever was acknowledged, in any order and however often", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 }), fc.array(ranges, { maxLength: 30 }), (start, acks) => {
        let cursor = openCursor(start, sent);
        const model = new Set<number>();
        for (let at = 1; at <= start; at += 1) model.add(at);
        for (const ack of acks) {
          const before = cursor.ackedThrough;
          cursor = acked(cursor, ack);
          for (const { first, last } of ack) for (let at = first; at <= last; at += 1) model.add(at);
          let watermark = 0;
          while (model.has(watermark + 1)) watermark += 1;
          expect(cursor.ackedThrough).toBe(watermark);
          expect(cursor.ackedThrough).toBeGreaterThanOrEqual(before);
          for (let at = 1; at <= sent; at += 1) expect(isAcknowledged(cursor, at)).toBe(model.has(at));
        }
      }),
    );
  });

  it("keeps its ranges sorted, apart from each other and from the watermark", () => {
    fc.assert(
      fc.property(fc.array(ranges, { maxLength: 30 }), (acks) => {
        const cursor = acks.reduce(acked, openCursor(0, sent));
        let last = cursor.ackedThrough;
        for (const range of cursor.above) {
          expect(range.first).toBeGreaterThan(last + 1);
          expect(range.last).toBeGreaterThanOrEqual(range.first);
          last = range.last;
        }
      }),
    );
  });

  it("is the same whether ranges come together or one by one", () => {
    fc.assert(
      fc.property(ranges, (ack) => {
        const together = acked(openCursor(0, sent), ack);
        const apart = ack.reduce((cursor, range) => acked(cursor, [range]), openCursor(0, sent));
        expect(together).toEqual(apart);
      }),
    );
  });

  it("changes nothing when one of the ranges was never sent", () => {
    const cursor = openCursor(2, 10);
    const given = [
      { first: 3, last: 5 },
      { first: 9, last: 11 },
    ];
    expect(acknowledge(cursor, given)).toEqual({ type: "beyond_sent", sequence: 11 });
    expect(cursor).toEqual(openCursor(2, 10));
    expect(acked(noteSent(cursor, 11), given).ackedThrough).toBe(5);
  });

  it("refuses more holes than it keeps, and changes nothing", () => {
    const holes = Array.from({ length: 10_001 }, (_, at) => ({ first: 2 * at + 2, last: 2 * at + 2 }));
    expect(acknowledge(openCursor(0, 30_000), holes)).toEqual({ type: "too_many_ranges" });
  });
});
