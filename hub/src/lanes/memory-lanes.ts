// Lanes in one hub's memory. A window per lane, filled by offers while it has room; once it was full, the rest
// waits in the ledger and is read page by page as the window runs low.
//
// Invariants
//  1. The window holds every ready ref of the lane up to `tailKey` that is not taken; `hasRest` says that there
//     may be more after it.
//  2. While `hasRest`, offers do not enter the window: they would overtake the rest.
//  3. An offer that comes while a page is being read may be missing from that page: `hasRest` then stays set.
import type { Ref } from "../domain/lane.js";
import type { LaneStats, Lanes, Stretch } from "./lanes.js";
import { RefQueue } from "./ref-queue.js";

export interface MemoryLanesLimits {
  /** Refs per lane in memory; beyond it they wait in the ledger. */
  readonly windowRefsMax: number;
}

const wholeLane: Stretch = { afterKey: 0, throughKey: null };

interface MemoryLane {
  readonly window: RefQueue;
  /** Taken and not yet settled, by job. */
  readonly taken: Map<string, Ref>;
  tailKey: number;
  hasRest: boolean;
  isFilling: boolean;
  missedOffer: boolean;
}

export function createMemoryLanes(limits: MemoryLanesLimits): Lanes {
  const lanes = new Map<number, MemoryLane>();
  let notify: (laneId: number) => void = () => undefined;

  const laneOf = (laneId: number): MemoryLane => {
    let lane = lanes.get(laneId);
    if (!lane) {
      lane = {
        window: new RefQueue(),
        taken: new Map(),
        tailKey: 0,
        hasRest: false,
        isFilling: false,
        missedOffer: false,
      };
      lanes.set(laneId, lane);
    }
    return lane;
  };

  const wantsMore = (lane: MemoryLane): boolean =>
    lane.hasRest && !lane.isFilling && lane.window.size <= limits.windowRefsMax / 2;

  const offerOne = (lane: MemoryLane, ref: Ref): void => {
    if (lane.isFilling) lane.missedOffer = true;
    if (lane.hasRest || lane.isFilling || ref.readyKey <= lane.tailKey) return;
    if (lane.window.size >= limits.windowRefsMax) {
      lane.hasRest = true;
      return;
    }
    lane.window.add(ref);
    lane.tailKey = ref.readyKey;
  };

  return {
    offer(refs) {
      const changed = new Set<number>();
      for (const ref of refs) {
        offerOne(laneOf(ref.laneId), ref);
        changed.add(ref.laneId);
      }
      for (const laneId of changed) notify(laneId);
    },

    head: (laneId) => lanes.get(laneId)?.window.first(),

    isEmpty(laneId) {
      const lane = lanes.get(laneId);
      return lane !== undefined && lane.window.size === 0 && !lane.hasRest && !lane.isFilling;
    },

    take(laneId, jobsMax, bytesMax) {
      const lane = lanes.get(laneId);
      if (!lane) return [];
      const refs = lane.window.take(jobsMax, bytesMax);
      for (const ref of refs) lane.taken.set(ref.jobId, ref);
      if (wantsMore(lane)) notify(laneId);
      return refs;
    },

    giveBack(refs) {
      const byLane = new Map<number, Ref[]>();
      for (const ref of refs) {
        lanes.get(ref.laneId)?.taken.delete(ref.jobId);
        const own = byLane.get(ref.laneId);
        if (own) own.push(ref);
        else byLane.set(ref.laneId, [ref]);
      }
      for (const [laneId, own] of byLane) {
        laneOf(laneId).window.putBack(own);
        notify(laneId);
      }
    },

    settle(refs) {
      for (const ref of refs) lanes.get(ref.laneId)?.taken.delete(ref.jobId);
    },

    seek: () => wholeLane,

    wants(laneId) {
      const lane = lanes.get(laneId);
      return lane && wantsMore(lane) ? { afterKey: lane.tailKey, throughKey: null } : null;
    },

    beginFill(laneId) {
      const lane = laneOf(laneId);
      lane.isFilling = true;
      lane.missedOffer = false;
    },

    fill(laneId, refs, isEnd) {
      const lane = laneOf(laneId);
      lane.isFilling = false;
      // A ref that was given back meanwhile is in the window again already: in place, none twice.
      lane.window.putBack(refs.filter((ref) => !lane.taken.has(ref.jobId)));
      for (const ref of refs) lane.tailKey = Math.max(lane.tailKey, ref.readyKey);
      lane.hasRest = !isEnd || lane.missedOffer;
      notify(laneId);
    },

    fillFailed(laneId) {
      const lane = laneOf(laneId);
      lane.isFilling = false;
      lane.hasRest = true;
    },

    stats(laneId): LaneStats {
      const lane = lanes.get(laneId);
      return { window: lane?.window.size ?? 0, hasRest: lane?.hasRest ?? false };
    },

    onChange(listener) {
      notify = listener;
    },

    stop: async () => undefined,
  };
}
