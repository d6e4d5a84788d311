import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { keysOf, refAt, refsAt } from "../harness/refs.js";
import { type LaneAct, laneActs, runAgainstLedger } from "./lane-model.js";
import { type LanesUnderTest, LanesWorld } from "./lanes-world.js";

const laneId = 1;
const pageRefsMax = 3;

export interface LanesSuite {
  /** Lanes with a window of so many refs per lane, that nothing waits in. */
  readonly create: (windowRefsMax: number) => Promise<LanesUnderTest>;
  /** How often acts are made up. */
  readonly runs: number;
  readonly timeoutMs: number;
}

/** What every adapter of the lanes port promises. */
export function describeLanes(name: string, { create, runs, timeoutMs }: LanesSuite): void {
  const worlds: LanesWorld[] = [];
  const open = async (windowRefsMax = 10): Promise<LanesWorld> => {
    const world = new LanesWorld(await create(windowRefsMax), pageRefsMax);
    worlds.push(world);
    return world;
  };
  afterEach(async () => {
    for (const world of worlds.splice(0)) await world.close();
  });

  describe(`${name} lanes`, { timeout: timeoutMs }, () => {
    describe("in order", () => {
      it("give refs in the order in which they were offered", async () => {
        const world = await open();

        world.offer(refsAt([1, 2]));
        world.offer(refsAt([3]));

        await world.calm();
        expect(world.lanes.head(laneId)?.readyKey).toBe(1);
        expect(await world.takeAll()).toEqual([1, 2, 3]);
        expect(world.lanes.head(laneId)).toBeUndefined();
      });

      it("keep lanes apart", async () => {
        const world = await open();

        world.offer([refAt(1, { laneId: 1 }), refAt(2, { laneId: 2 }), refAt(3, { laneId: 1 })]);

        expect(await world.takeAll(2)).toEqual([2]);
        expect(await world.takeAll(1)).toEqual([1, 3]);
        expect(await world.takeAll(3)).toEqual([]);
      });

      it("give no more than asked for, in refs and in bytes", async () => {
        const world = await open();
        world.offer(refsAt([1, 2, 3, 4, 5], { bytes: 100 }));

        expect(keysOf(await world.take(2))).toEqual([1, 2]);
        expect(keysOf(await world.take(10, 250))).toEqual([3, 4]);
        expect(await world.take(10, 99)).toEqual([]);
        expect(await world.take(0)).toEqual([]);
        expect(keysOf(await world.take(10, 100))).toEqual([5]);
      });

      it("put what was given back before what waits", async () => {
        const world = await open();
        world.offer(refsAt([1, 2, 3, 4]));
        const taken = await world.take(2);

        world.lanes.giveBack(taken);

        expect(await world.takeAll()).toEqual([1, 2, 3, 4]);
      });

      it("put what was given back in its place, in whatever order claims fail", async () => {
        const world = await open();
        world.offer(refsAt([1, 2, 3, 4, 5, 6]));
        const [first, second] = [await world.take(2), await world.take(2)];

        world.lanes.giveBack(first);
        world.lanes.giveBack(second);

        expect(await world.takeAll()).toEqual([1, 2, 3, 4, 5, 6]);
      });
    });

    describe("of bounded size", () => {
      it("bring everything that was offered, in order, through a small window", async () => {
        const world = await open(4);
        const keys = Array.from({ length: 40 }, (_, at) => at + 1);
        for (const key of keys) world.offer([refAt(key)]);

        const claimed: number[] = [];
        while (claimed.length < keys.length) {
          const refs = await world.take(3);
          expect(world.lanes.stats(laneId).window).toBeLessThanOrEqual(4);
          claimed.push(...world.claim(refs));
        }

        expect(claimed).toEqual(keys);
      });

      it("do not let an offer overtake what waits", async () => {
        const world = await open(2);
        world.offer(refsAt([1, 2, 3]));
        world.claim(await world.take(2));

        world.offer(refsAt([4]));

        expect(await world.takeAll()).toEqual([3, 4]);
      });

      it("do not grow when the same refs are given back again and again", async () => {
        const world = await open(4);

        for (let again = 0; again < 100; again += 1) world.lanes.giveBack(refsAt([1, 2]));

        expect(world.lanes.stats(laneId).window).toBe(2);
        expect(await world.takeAll()).toEqual([1, 2]);
      });
    });

    describe("with what only the ledger knows (D9)", () => {
      it("ask for it when hungry sessions find nothing, until there is no more", async () => {
        const world = await open();
        world.commit(refsAt([1, 2, 3, 4, 5, 6, 7]));

        await world.starve();

        expect(await world.takeAll()).toEqual([1, 2, 3, 4, 5, 6, 7]);
      });

      it("ask again when a look failed", async () => {
        const world = await open();
        world.commit(refsAt([1]));
        await world.calm();
        const stretch = world.lanes.seek(laneId);
        if (!stretch) throw new Error("Nothing waits, so the ledger is to be asked.");

        world.lanes.beginFill(laneId, stretch);
        world.lanes.fillFailed(laneId);

        await world.starve();
        expect(await world.takeAll()).toEqual([1]);
      });

      it("keep an offer that came while a page was being read", async () => {
        const world = await open();
        await world.calm();
        const stretch = world.lanes.seek(laneId);
        if (!stretch) throw new Error("Nothing waits, so the ledger is to be asked.");
        world.commit(refsAt([1]));

        world.lanes.beginFill(laneId, stretch);
        const { refs, isEnd } = world.page(laneId, stretch);
        world.offer(refsAt([2]));
        world.lanes.fill(laneId, refs, isEnd);

        expect(await world.takeAll()).toEqual([1, 2]);
      });
    });

    describe("with duplicates (D10)", () => {
      it("have an offer that comes twice claimed once", async () => {
        const world = await open();

        world.offer(refsAt([1, 2]));
        world.offer(refsAt([1, 2]));

        expect(await world.takeAll(laneId, 10)).toEqual([1, 2]);
      });

      it("leave a ref that is taken out of a page that still shows it", async () => {
        const world = await open();
        world.offer(refsAt([1, 2]));
        const taken = await world.take(2);
        world.commit(refsAt([3]));

        world.look(laneId, { afterKey: 0, throughKey: null });

        expect(await world.takeAll()).toEqual([3]);
        world.claim(taken);
      });

      it("settle and give back what they never knew without harm", async () => {
        const world = await open();

        world.lanes.settle(refsAt([7]));
        world.lanes.giveBack(refsAt([8]));

        expect(await world.takeAll()).toEqual([8]);
      });
    });

    describe("and new work", () => {
      it("is not let past a lane that nobody has looked at", async () => {
        expect((await open()).lanes.isEmpty(laneId)).toBe(false);
      });

      it("is let past a lane that has nothing, and not past one where something waits", async () => {
        const world = await open();
        await world.starve();
        expect(world.lanes.isEmpty(laneId)).toBe(true);

        world.offer(refsAt([1]));
        expect(world.lanes.isEmpty(laneId)).toBe(false);
        await world.calm();
        expect(world.lanes.isEmpty(laneId)).toBe(false);

        world.claim(await world.take(1));
        await world.starve();
        expect(world.lanes.isEmpty(laneId)).toBe(true);
      });
    });

    it("tell their listener of offers, of refs given back and of pages", async () => {
      const world = await open();
      const told = new Set<number>();
      world.lanes.onChange((id) => told.add(id));
      const toldOf = () => {
        const ids = [...told];
        told.clear();
        return ids;
      };

      world.offer(refsAt([1, 2, 3]));
      await world.calm();
      expect(toldOf()).toEqual([laneId]);
      const taken = await world.take(2);
      toldOf();
      world.lanes.giveBack(taken);
      expect(toldOf()).toEqual([laneId]);
      world.commit(refsAt([4]));
      world.look(laneId, { afterKey: 0, throughKey: null });
      expect(toldOf()).toEqual([laneId]);
    });

    it("stop, and stop again", async () => {
      const world = await open();
      world.offer(refsAt([1]));

      await world.lanes.stop();
      await world.lanes.stop();
    });

    it("have no ref twice when one is given back while a page is being read", async () => {
      const acts: LaneAct[] = [
        { act: "read page" },
        { act: "fill" },
        { act: "take", count: 1 },
        { act: "begin look" },
        { act: "give back", which: 0 },
      ];
      for (const preloaded of [1, 3, 4, 12]) await runAgainstLedger(await open(6), 6, preloaded, acts);
    });

    it("show every ready job, whatever comes between, and none to two at once (D9, D10)", async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: 12 }), laneActs, async (preloaded, acts) => {
          const world = await open(6);
          await runAgainstLedger(world, 6, preloaded, acts);
          worlds.splice(worlds.indexOf(world), 1);
          await world.close();
        }),
        { numRuns: runs, endOnFailure: runs < 100 },
      );
    });
  });
}
