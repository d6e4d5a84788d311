import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keysOf, refAt, refsAt } from "../../test/harness/refs.js";
import { RefQueue } from "./ref-queue.js";

function queueOf(...readyKeys: number[]): RefQueue {
  const queue = new RefQueue();
  for (const ref of refsAt(readyKeys)) queue.add(ref);
  return queue;
}

describe("a queue of refs", () => {
  it("gives refs in order, as many as both bounds allow", () => {
    const queue = queueOf(1, 2, 3, 4, 5);

    expect(keysOf(queue.take(2, 1_000))).toEqual([1, 2]);
    expect(keysOf(queue.take(10, 25))).toEqual([3, 4]);
    expect(queue.first()?.readyKey).toBe(5);
    expect(queue.size).toBe(1);
  });

  it("gives nothing when its first ref is larger than the bound, and keeps it", () => {
    const queue = new RefQueue();
    queue.add(refAt(1, { bytes: 11 }));
    queue.add(refAt(2, { bytes: 1 }));

    expect(queue.take(5, 10)).toEqual([]);
    expect(queue.first()?.readyKey).toBe(1);
  });

  it("gives a ref that costs no bytes when no bytes are left", () => {
    const queue = new RefQueue();
    queue.add(refAt(1, { bytes: 0 }));

    expect(keysOf(queue.take(1, 0))).toEqual([1]);
  });

  it("puts refs back into their places, and none twice", () => {
    const queue = queueOf(1, 2, 3, 4, 5);
    const taken = queue.take(3, 1_000);

    queue.putBack(taken.slice(2));
    queue.putBack(taken.slice(0, 1));
    queue.putBack([...taken].reverse());

    expect(keysOf(queue.take(10, 1_000))).toEqual([1, 2, 3, 4, 5]);
  });

  it("is a list that is added to at its end and taken from at its front, where refs also come back, through thousands of refs", () => {
    const acts = fc.array(
      fc.oneof(
        fc.record({ act: fc.constant("add" as const), count: fc.integer({ min: 1, max: 2_000 }) }),
        fc.record({ act: fc.constant("take" as const), count: fc.integer({ min: 1, max: 2_000 }) }),
        fc.record({ act: fc.constant("give back" as const), count: fc.integer({ min: 1, max: 20 }) }),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(acts, (acts) => {
        const queue = new RefQueue();
        let list: number[] = [];
        let last: number[] = [];
        let next = 1;
        for (const { act, count } of acts) {
          if (act === "add") {
            const keys = Array.from({ length: count }, () => next++);
            for (const ref of refsAt(keys)) queue.add(ref);
            list = [...list, ...keys];
          } else if (act === "take") {
            last = keysOf(queue.take(count, Number.POSITIVE_INFINITY));
            expect(last).toEqual(list.slice(0, count));
            list = list.slice(count);
          } else {
            const back = last.slice(-count);
            last = last.slice(0, -count);
            queue.putBack(refsAt(back));
            list = [...back, ...list];
          }
          expect(queue.size).toBe(list.length);
          expect(queue.first()?.readyKey).toBe(list[0]);
        }
      }),
      { numRuns: 50 },
    );
  });
});
