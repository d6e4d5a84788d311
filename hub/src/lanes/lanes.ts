import type { Ref } from "../domain/lane.js";

/**
 * The work-queue port: where ready jobs wait to be claimed, as refs in windows of bounded size. Whatever a lane
 * loses is found again in the ledger, and whatever it repeats is harmless, because a claim is a compare-and-set
 * (D9, D10). Adapters pass one conformance suite.
 */
export interface Lanes {
  /** Jobs that became ready, after their commit, in order of their places. */
  offer(refs: readonly Ref[]): void;
  /** The first ref of a lane's window. */
  head(laneId: number): Ref | undefined;
  /**
   * Nothing of this lane waits, as far as this hub knows: a new job may be leased at once, without a ref. A lane
   * that nobody has looked at yet is not empty.
   */
  isEmpty(laneId: number): boolean;
  /** Takes refs from the front, in order, while both bounds hold. Each must later be settled or given back. */
  take(laneId: number, jobsMax: number, bytesMax: number): Ref[];
  /** Taken refs that were not claimed and are still ready: back into their places, none twice. */
  giveBack(refs: readonly Ref[]): void;
  /** Taken refs that are claimed, parked or gone. */
  settle(refs: readonly Ref[]): void;
  /**
   * Hungry sessions of this hub find a lane's window empty. Brings what waits elsewhere; answers where to look in the
   * ledger when nothing seems to wait. Whoever stays hungry says so again within a second.
   */
  seek(laneId: number): Stretch | null;
  /** Where to read on in the ledger, when a lane's window runs low and the ledger is known to hold more of it. */
  wants(laneId: number): Stretch | null;
  /** Begins a look into the ledger; must be followed by `fill` or `fillFailed`. */
  beginFill(laneId: number, stretch: Stretch): void;
  /** What the ledger held, in order. `isEnd`: there was no more in the stretch. */
  fill(laneId: number, refs: readonly Ref[], isEnd: boolean): void;
  fillFailed(laneId: number): void;
  stats(laneId: number): LaneStats;
  /** Called with a lane when refs came into its window, or when it wants to be filled. */
  onChange(listener: (laneId: number) => void): void;
  /** Lets go of what waits here, for other hubs to have. Idempotent. */
  stop(): Promise<void>;
}

/** Places of a lane to be looked up in the ledger. */
export interface Stretch {
  /** Exclusive; 0: wherever waiting jobs begin. */
  readonly afterKey: number;
  /** Inclusive; null: to the end. */
  readonly throughKey: number | null;
}

export interface LaneStats {
  /** Refs in the window. */
  readonly window: number;
  /** The ledger is known to hold more than the window. */
  readonly hasRest: boolean;
}
