import type { Ref } from "../domain/lane.js";
import type { LanePull } from "./lane-stream.js";
import type { Stretch } from "./lanes.js";
import { RefQueue } from "./ref-queue.js";

/** How a hub asks the stream for more of a lane. */
export type PullState =
  | { readonly type: "none" }
  /** The lane's consumer is being made sure of. */
  | { readonly type: "preparing" }
  | { readonly type: "open"; readonly pull: LanePull; readonly sinceMs: number }
  /** It failed; not again before. */
  | { readonly type: "resting"; readonly untilMs: number };

/** What one hub knows of a lane that it shares: a window of refs, and where the rest is. */
export class SharedLane {
  readonly laneId: number;
  readonly #window = new RefQueue();
  readonly #waiting = new Set<string>();
  readonly #taken = new Set<string>();
  pull: PullState = { type: "none" };
  consumerSureUntilMs = 0;
  /** The stream was asked for more in vain, and has not answered since. */
  isUnanswered = false;
  /** When sessions of this hub were last hungry for it. */
  soughtAtMs = Number.NEGATIVE_INFINITY;
  /** When refs last came into the window or were taken. */
  usedAtMs = 0;
  /** When the stream last took something in or handed something out. */
  movedAtMs = 0;
  newestPulledKey = 0;
  /** Places whose refs may be in the ledger alone. */
  rest: Stretch | null = null;
  /** The stretch that is being read. */
  filling: Stretch | null = null;
  /** The last look found nothing more, and nothing has gone missing since. */
  isLookedThrough = false;

  constructor(laneId: number) {
    this.laneId = laneId;
  }

  get size(): number {
    return this.#window.size;
  }

  get isIdle(): boolean {
    return this.size === 0 && this.#taken.size === 0 && this.pull.type !== "open" && this.filling === null;
  }

  head(): Ref | undefined {
    return this.#window.first();
  }

  has(jobId: string): boolean {
    return this.#waiting.has(jobId) || this.#taken.has(jobId);
  }

  /** Refs into their places, none that is here already. */
  add(refs: readonly Ref[]): void {
    const fresh: Ref[] = [];
    for (const ref of refs) {
      if (this.has(ref.jobId)) continue;
      this.#waiting.add(ref.jobId);
      fresh.push(ref);
    }
    if (isRising(this.#window.last(), fresh)) for (const ref of fresh) this.#window.add(ref);
    else this.#window.putBack(fresh);
  }

  take(jobsMax: number, bytesMax: number): Ref[] {
    const refs = this.#window.take(jobsMax, bytesMax);
    for (const { jobId } of refs) {
      this.#waiting.delete(jobId);
      this.#taken.add(jobId);
    }
    return refs;
  }

  settle(jobId: string): void {
    this.#taken.delete(jobId);
  }

  giveBack(refs: readonly Ref[]): void {
    for (const { jobId } of refs) this.#taken.delete(jobId);
    this.add(refs);
  }

  /** Empties the window. */
  clear(): Ref[] {
    this.#waiting.clear();
    return this.#window.take(this.#window.size, Number.POSITIVE_INFINITY);
  }

  /** Places that the ledger has to be asked for, sooner or later. */
  miss(stretch: Stretch): void {
    this.rest = this.rest ? hull(this.rest, stretch) : stretch;
    this.isLookedThrough = false;
  }
}

function isRising(after: Ref | undefined, refs: readonly Ref[]): boolean {
  let last = after?.readyKey ?? Number.NEGATIVE_INFINITY;
  for (const { readyKey } of refs) {
    if (readyKey < last) return false;
    last = readyKey;
  }
  return true;
}

function hull(one: Stretch, other: Stretch): Stretch {
  const isOpen = one.throughKey === null || other.throughKey === null;
  return {
    afterKey: Math.min(one.afterKey, other.afterKey),
    throughKey: isOpen ? null : Math.max(one.throughKey ?? 0, other.throughKey ?? 0),
  };
}
