import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { knowing } from "../../test/harness/known-lanes.js";
import { keysOf, laneOf, refAt, refsAt } from "../../test/harness/refs.js";
import type { Ref } from "../domain/lane.js";
import { createMemoryLanes } from "../lanes/memory-lanes.js";
import { LaneBook } from "./lane-book.js";
import { defaultLaneRefillSettings, LaneRefill } from "./lane-refill.js";

const laneId = 1;
const nowMs = 1_800_000_000_000;
const noLimit = Number.POSITIVE_INFINITY;

beforeEach(() => {
  vi.useFakeTimers({ now: nowMs });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A ledger that is a list of ready refs, read in pages. */
async function openRefill(
  ready: readonly Ref[],
  options: { lanes?: number; lowKey?: number; looksMax?: number; isShared?: boolean } = {},
) {
  const known = Array.from({ length: options.lanes ?? 1 }, (_, at) => ({
    lane: laneOf(at + 1),
    lowKey: options.lowKey ?? 0,
  }));
  const book = new LaneBook(knowing(known), 100);
  await book.load();
  const port = createMemoryLanes({ windowRefsMax: 20 });
  const gone = new Set<string>();
  const looks: { laneId: number; afterKey: number }[] = [];
  const dealt: { afterKey: number; throughKey: number }[] = [];
  const raised: { laneIds: readonly number[]; throughKey: number }[] = [];
  const errors: unknown[] = [];
  const state = { isAway: false, stragglers: [] as Ref[], sweeps: [] as string[], open: 0, openMax: 0 };
  const ledger = {
    readLanePage: async (laneId: number, afterKey: number, limit: number) => {
      looks.push({ laneId, afterKey });
      state.open += 1;
      state.openMax = Math.max(state.openMax, state.open);
      await Promise.resolve();
      state.open -= 1;
      if (state.isAway) throw new Error("the ledger is away");
      const own = ready.filter(
        (ref) => ref.laneId === laneId && ref.readyKey > afterKey && !gone.has(ref.jobId),
      );
      return own.slice(0, limit);
    },
    dealLanePage: async (laneId: number, afterKey: number, throughKey: number, limit: number) => {
      dealt.push({ afterKey, throughKey });
      const own = ready.filter(
        (ref) =>
          ref.laneId === laneId &&
          ref.readyKey > afterKey &&
          ref.readyKey <= throughKey &&
          !gone.has(ref.jobId),
      );
      return own.slice(0, limit);
    },
    raiseLowKeys: async (laneIds: readonly number[], throughKey: number) => {
      raised.push({ laneIds, throughKey });
      return laneIds.map((laneId) => {
        const oldest = ready.find((ref) => ref.laneId === laneId && !gone.has(ref.jobId));
        const isSeen = oldest !== undefined && oldest.readyKey <= throughKey;
        return {
          laneId,
          lowKey: isSeen ? oldest.readyKey - 1 : throughKey,
          oldestReadyKey: isSeen ? oldest.readyKey : null,
        };
      });
    },
    readStragglers: async (afterJobId: string) => {
      state.sweeps.push(afterJobId);
      return { refs: state.stragglers, nextJobId: null };
    },
  };
  const settings = {
    ...defaultLaneRefillSettings,
    pageRefsMax: 10,
    looksMax: options.looksMax ?? 4,
    isShared: options.isShared ?? false,
  };
  const refill = new LaneRefill(ledger, port, book, settings, (error) => void errors.push(error));
  port.onChange((laneId) => refill.laneChanged(laneId));
  return {
    refill,
    port,
    looks,
    dealt,
    raised,
    errors,
    state,
    /** Takes refs as claims that are granted. */
    claim(count: number): number[] {
      const taken = port.take(laneId, count, noLimit);
      for (const ref of taken) gone.add(ref.jobId);
      port.settle(taken);
      return keysOf(taken);
    },
  };
}

const settled = () => vi.advanceTimersByTimeAsync(0);

describe("a hub that starts", () => {
  it("finds every ready job of the ledger, page by page, in order, with a bounded window (D9)", async () => {
    const keys = Array.from({ length: 137 }, (_, at) => at + 1);
    const hub = await openRefill(refsAt(keys));
    hub.refill.start();
    await settled();

    const claimed: number[] = [];
    for (let round = 0; claimed.length < keys.length && round < 200; round += 1) {
      expect(hub.port.stats(laneId).window).toBeLessThanOrEqual(20);
      claimed.push(...hub.claim(3));
      await settled();
    }

    expect(claimed).toEqual(keys);
    await hub.refill.stop();
  });

  it("begins where the ledger says that waiting jobs begin", async () => {
    const hub = await openRefill(refsAt([5, 500, 600]), { lowKey: 400 });

    hub.refill.start();
    await settled();

    expect(hub.looks[0]).toEqual({ laneId, afterKey: 400 });
    expect(hub.claim(10)).toEqual([500, 600]);
    await hub.refill.stop();
  });

  it("looks into no more lanes at once than it may", async () => {
    const hub = await openRefill([], { lanes: 30, looksMax: 3 });

    hub.refill.start();
    await settled();

    expect(new Set(hub.looks.map((look) => look.laneId)).size).toBe(30);
    expect(hub.state.openMax).toBe(3);
    await hub.refill.stop();
  });
});

describe("a lane that hungry sessions find empty (D9)", () => {
  it("is looked up in the ledger, at most once a second", async () => {
    const ready = refsAt([]);
    const hub = await openRefill(ready);
    hub.refill.start();
    await settled();
    const before = hub.looks.length;

    for (let elapsedMs = 0; elapsedMs < 5_000; elapsedMs += 100) {
      hub.refill.starved(laneId);
      await vi.advanceTimersByTimeAsync(100);
    }

    expect(hub.looks.length - before).toBeGreaterThanOrEqual(4);
    expect(hub.looks.length - before).toBeLessThanOrEqual(5);
    await hub.refill.stop();
  });

  it("gives what was never offered to it, also behind what was claimed since", async () => {
    const ready: Ref[] = [];
    const hub = await openRefill(ready);
    hub.refill.start();
    await settled();
    const now = nowMs * 1_000;
    ready.push(...refsAt([now + 1, now + 2]));
    hub.port.offer(refsAt([now + 3]));
    expect(hub.claim(1)).toEqual([now + 3]);

    await vi.advanceTimersByTimeAsync(1_000);
    hub.refill.starved(laneId);
    await settled();

    expect(hub.claim(10)).toEqual([now + 1, now + 2]);
    await hub.refill.stop();
  });

  it("is not walked again from its low key each time, but every 30 s it is, for what was long on its way", async () => {
    const ready: Ref[] = [];
    const hub = await openRefill(ready, { lowKey: 7 });
    hub.refill.start();
    await settled();
    ready.push(...refsAt([8]));

    await vi.advanceTimersByTimeAsync(1_000);
    hub.refill.starved(laneId);
    await settled();
    expect(hub.looks.at(-1)).toEqual({ laneId, afterKey: (nowMs - 5_000) * 1_000 });
    expect(hub.port.head(laneId)).toBeUndefined();
    await vi.advanceTimersByTimeAsync(29_000);
    hub.refill.starved(laneId);
    await settled();

    expect(hub.claim(1)).toEqual([8]);
    await hub.refill.stop();
  });

  it("is looked up again after a look that failed", async () => {
    const hub = await openRefill(refsAt([1]));
    hub.state.isAway = true;
    hub.refill.start();
    await settled();
    expect(hub.errors).toHaveLength(1);
    expect(hub.port.head(laneId)).toBeUndefined();

    hub.state.isAway = false;
    await vi.advanceTimersByTimeAsync(1_000);
    hub.refill.starved(laneId);
    await settled();

    expect(hub.claim(1)).toEqual([1]);
    await hub.refill.stop();
  });
});

describe("low keys", () => {
  const seconds = 1_000_000;
  const oldKey = (nowMs - 100_000) * 1_000;

  it("are raised by the ledger, never nearer than 40 s to the present", async () => {
    const hub = await openRefill([refAt(oldKey)]);
    hub.refill.start();
    await settled();

    await vi.advanceTimersByTimeAsync(5_000);
    await hub.refill.stop();

    expect(hub.raised[0]).toEqual({ laneIds: [laneId], throughKey: (nowMs + 5_000 - 40_000) * 1_000 });
  });

  it("are where the next look begins", async () => {
    const hub = await openRefill([refAt(oldKey), refAt(oldKey + 10)]);
    hub.refill.start();
    await settled();
    hub.claim(2);
    await vi.advanceTimersByTimeAsync(30_000);

    hub.refill.starved(laneId);
    await settled();

    expect(hub.looks.at(-1)).toEqual({ laneId, afterKey: (nowMs + 30_000 - 40_000) * 1_000 });
    await hub.refill.stop();
  });

  it("are not raised again once nothing has moved for longer than a commit may take", async () => {
    const hub = await openRefill([refAt(oldKey)]);
    hub.refill.start();
    await settled();
    hub.claim(1);

    await vi.advanceTimersByTimeAsync(60_000);
    const after = hub.raised.length;
    await vi.advanceTimersByTimeAsync(60_000);
    await hub.refill.stop();

    expect(hub.raised.length).toBe(after);
  });

  it("show which jobs were lost on their way: those come before the lane's head, though it is never empty (D9)", async () => {
    const ready = [refAt(oldKey), refAt(oldKey + 20 * seconds)];
    const hub = await openRefill(ready, { lowKey: oldKey + 1 });
    hub.refill.start();
    await settled();
    expect(hub.port.head(laneId)?.readyKey).toBe(oldKey + 20 * seconds);

    await vi.advanceTimersByTimeAsync(5_000);

    expect(hub.claim(2)).toEqual([oldKey, oldKey + 20 * seconds]);
    await hub.refill.stop();
  });

  it("do not bring back what waits only a little longer than the head: another hub has it", async () => {
    const hub = await openRefill([refAt(oldKey), refAt(oldKey + 9 * seconds)], { lowKey: oldKey + 1 });
    hub.refill.start();
    await settled();

    await vi.advanceTimersByTimeAsync(5_000);

    expect(hub.claim(2)).toEqual([oldKey + 9 * seconds]);
    await hub.refill.stop();
  });
});

describe("a hub that shares its lanes", () => {
  it("reads nothing that its sessions are not hungry for", async () => {
    const hub = await openRefill(refsAt([1, 2, 3]), { isShared: true });

    hub.refill.start();
    await vi.advanceTimersByTimeAsync(20_000);

    expect([hub.looks, hub.dealt]).toEqual([[], []]);
    await hub.refill.stop();
  });

  it("has jobs dealt to it instead of reading what other hubs read too", async () => {
    const hub = await openRefill(refsAt([1, 2, 3]), { isShared: true, lowKey: 2 });
    hub.refill.start();

    hub.refill.starved(laneId);
    await settled();

    expect(hub.dealt).toEqual([{ afterKey: 0, throughKey: nowMs * 1_000 }]);
    expect(hub.looks).toEqual([]);
    expect(hub.claim(3)).toEqual([1, 2, 3]);
    await hub.refill.stop();
  });
});

describe("the sweep", () => {
  it("brings back ready jobs where nobody would look again, without piling them up (D9)", async () => {
    const hub = await openRefill([]);
    hub.refill.start();
    hub.state.stragglers = refsAt([4, 2]);

    await vi.advanceTimersByTimeAsync(60_000);

    expect(hub.state.sweeps.length).toBe(120);
    expect(hub.port.stats(laneId).window).toBe(2);
    expect(hub.claim(10)).toEqual([2, 4]);
    await hub.refill.stop();
  });

  it("ends with its hub", async () => {
    const hub = await openRefill([]);
    hub.refill.start();

    await hub.refill.stop();
    await hub.refill.stop();
    await vi.advanceTimersByTimeAsync(60_000);

    expect(hub.state.sweeps).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
