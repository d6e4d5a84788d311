import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ref } from "../../src/domain/lane.js";
import type { Lanes } from "../../src/lanes/lanes.js";
import { keysOf, refAt, refsAt } from "../harness/refs.js";
import { laneActs, runAgainstLedger } from "./lane-model.js";

const laneId = 1;
const noLimit = Number.POSITIVE_INFINITY;

/** What every adapter of the lanes port promises. `create` makes lanes with a window of so many refs per lane. */
export function describeLanes(name: string, create: (windowRefsMax: number) => Lanes): void {
  describe(`${name} lanes`, () => {
    describe("in order", () => {
      it("give refs in the order in which they were offered", () => {
        const lanes = create(10);

        lanes.offer(refsAt([1, 2]));
        lanes.offer(refsAt([3]));

        expect(lanes.head(laneId)?.readyKey).toBe(1);
        expect(takeAll(lanes)).toEqual([1, 2, 3]);
        expect(lanes.head(laneId)).toBeUndefined();
      });

      it("keep lanes apart", () => {
        const lanes = create(10);

        lanes.offer([refAt(1, { laneId: 1 }), refAt(2, { laneId: 2 }), refAt(3, { laneId: 1 })]);

        expect(keysOf(lanes.take(2, 10, noLimit))).toEqual([2]);
        expect(takeAll(lanes)).toEqual([1, 3]);
        expect(lanes.take(3, 10, noLimit)).toEqual([]);
      });

      it("give no more than asked for, in refs and in bytes", () => {
        const lanes = create(10);
        lanes.offer(refsAt([1, 2, 3, 4, 5], { bytes: 100 }));

        expect(keysOf(lanes.take(laneId, 2, noLimit))).toEqual([1, 2]);
        expect(keysOf(lanes.take(laneId, 10, 250))).toEqual([3, 4]);
        expect(lanes.take(laneId, 10, 99)).toEqual([]);
        expect(lanes.take(laneId, 0, noLimit)).toEqual([]);
        expect(keysOf(lanes.take(laneId, 10, 100))).toEqual([5]);
      });

      it("put what was given back before what waits", () => {
        const lanes = create(10);
        lanes.offer(refsAt([1, 2, 3, 4]));
        const taken = lanes.take(laneId, 2, noLimit);

        lanes.giveBack(taken);

        expect(takeAll(lanes)).toEqual([1, 2, 3, 4]);
      });

      it("put what was given back in its place, in whatever order claims fail", () => {
        const lanes = create(10);
        lanes.offer(refsAt([1, 2, 3, 4, 5, 6]));
        const [first, second] = [lanes.take(laneId, 2, noLimit), lanes.take(laneId, 2, noLimit)];

        lanes.giveBack(first);
        lanes.giveBack(second);

        expect(takeAll(lanes)).toEqual([1, 2, 3, 4, 5, 6]);
      });
    });

    describe("of bounded size", () => {
      it("keep a window of refs and read the rest from the ledger as it runs low", () => {
        const lanes = create(4);
        lanes.offer(refsAt([1, 2, 3, 4, 5, 6]));

        expect(lanes.stats(laneId)).toEqual({ window: 4, hasRest: true });
        expect(lanes.wants(laneId)).toBeNull();
        lanes.settle(lanes.take(laneId, 2, noLimit));
        expect(lanes.wants(laneId)).toEqual({ afterKey: 4 });
        fillWith(lanes, [5, 6], true);
        expect(lanes.stats(laneId)).toEqual({ window: 4, hasRest: false });
        expect(takeAll(lanes)).toEqual([3, 4, 5, 6]);
      });

      it("do not let an offer overtake the rest", () => {
        const lanes = create(2);
        lanes.offer(refsAt([1, 2, 3]));
        lanes.settle(lanes.take(laneId, 2, noLimit));

        lanes.offer(refsAt([4]));

        expect(lanes.head(laneId)).toBeUndefined();
        fillWith(lanes, [3, 4], true);
        expect(takeAll(lanes)).toEqual([3, 4]);
      });

      it("go on asking until a page says that it was the last", () => {
        const lanes = create(4);
        fillWith(lanes, [1, 2], false);
        expect(lanes.wants(laneId)).toEqual({ afterKey: 2 });
        fillWith(lanes, [3, 4], false);
        expect(lanes.wants(laneId)).toBeNull();
        takeAll(lanes);

        fillWith(lanes, [], true);

        expect(lanes.wants(laneId)).toBeNull();
        expect(lanes.stats(laneId)).toEqual({ window: 0, hasRest: false });
      });

      it("ask once at a time, and again when a look failed (D9)", () => {
        const lanes = create(2);
        lanes.offer(refsAt([1, 2, 3]));
        takeAll(lanes);
        expect(lanes.wants(laneId)).toEqual({ afterKey: 2 });

        lanes.beginFill(laneId);
        expect(lanes.wants(laneId)).toBeNull();
        lanes.fillFailed(laneId);

        expect(lanes.wants(laneId)).toEqual({ afterKey: 2 });
      });

      it("look once more for an offer that came while a page was being read", () => {
        const lanes = create(4);
        lanes.beginFill(laneId);
        lanes.offer(refsAt([2]));
        lanes.fill(laneId, refsAt([1]), true);

        expect(lanes.wants(laneId)).toEqual({ afterKey: 1 });
        fillWith(lanes, [2], true);

        expect(takeAll(lanes)).toEqual([1, 2]);
      });

      it("do not grow when the same refs are given back again and again", () => {
        const lanes = create(4);

        for (let again = 0; again < 100; again += 1) lanes.giveBack(refsAt([1, 2]));

        expect(lanes.stats(laneId).window).toBe(2);
        expect(takeAll(lanes)).toEqual([1, 2]);
      });
    });

    describe("with duplicates (D10)", () => {
      it("take an offer once that comes twice", () => {
        const lanes = create(10);

        lanes.offer(refsAt([1, 2]));
        lanes.offer(refsAt([1, 2]));

        expect(takeAll(lanes)).toEqual([1, 2]);
      });

      it("leave a ref that is taken out of a page that still shows it", () => {
        const lanes = create(10);
        lanes.offer(refsAt([1, 2]));
        const taken = lanes.take(laneId, 2, noLimit);

        fillWith(lanes, [1, 2, 3], true);

        expect(keysOf(lanes.take(laneId, 10, noLimit))).toEqual([3]);
        lanes.settle(taken);
      });

      it("settle and give back what they never knew without harm", () => {
        const lanes = create(10);

        lanes.settle(refsAt([7]));
        lanes.giveBack(refsAt([8]));

        expect(takeAll(lanes)).toEqual([8]);
      });
    });

    describe("and their low key", () => {
      it("is not known before anything is", () => {
        expect(create(10).lowKey(laneId)).toBe(0);
      });

      it("stays before what waits and before what is taken, and rises once that is settled", () => {
        const lanes = create(10);
        lanes.offer(refsAt([10, 20, 30]));
        expect(lanes.lowKey(laneId)).toBeLessThan(10);

        const first = lanes.take(laneId, 1, noLimit);
        const second = lanes.take(laneId, 1, noLimit);
        lanes.settle(second);
        expect(lanes.lowKey(laneId)).toBeLessThan(10);

        lanes.settle(first);
        expect(lanes.lowKey(laneId)).toBeGreaterThanOrEqual(20);
        expect(lanes.lowKey(laneId)).toBeLessThan(30);
      });

      it("is not known while a page is being read", () => {
        const lanes = create(10);
        lanes.offer(refsAt([10]));
        lanes.settle(lanes.take(laneId, 1, noLimit));

        lanes.beginFill(laneId);

        expect(lanes.lowKey(laneId)).toBe(0);
      });

      it("stays before everything that was given back, in whatever order", () => {
        const lanes = create(10);
        lanes.offer(refsAt([10, 20]));
        const [first, second] = [lanes.take(laneId, 1, noLimit), lanes.take(laneId, 1, noLimit)];

        lanes.giveBack(first);
        lanes.giveBack(second);

        expect(lanes.lowKey(laneId)).toBeLessThan(10);
      });
    });

    describe("tell their listener", () => {
      it("of offers, of refs given back, of pages, and of a window that runs low", () => {
        const lanes = create(2);
        const told: string[] = [];
        let now = "";
        lanes.onChange((id) => told.push(`${now} ${id}`));
        const act = (name: string, run: () => void) => {
          now = name;
          run();
        };

        act("offer", () => lanes.offer(refsAt([1, 2, 3])));
        let taken: Ref[] = [];
        act("low", () => {
          taken = lanes.take(laneId, 2, noLimit);
        });
        act("back", () => lanes.giveBack(taken));
        act("page", () => fillWith(lanes, [3], true));

        expect([...new Set(told)]).toEqual(["offer 1", "low 1", "back 1", "page 1"]);
      });
    });

    it("show every ready job, oldest first, whatever comes between (D9, D10)", () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 12 }), laneActs, (preloaded, acts) => {
          runAgainstLedger(create(windowRefsMax), windowRefsMax, preloaded, acts);
        }),
        { numRuns: 250 },
      );
    });
  });
}

const windowRefsMax = 6;

function takeAll(lanes: Lanes): number[] {
  const taken = lanes.take(laneId, 1_000, noLimit);
  lanes.settle(taken);
  return keysOf(taken);
}

function fillWith(lanes: Lanes, readyKeys: number[], isEnd: boolean): void {
  lanes.beginFill(laneId);
  lanes.fill(laneId, refsAt(readyKeys), isEnd);
}
