// Keeps lane windows filled from the ledger, and is the backstop of every lane adapter (D9):
//  1. a lane that hungry sessions find empty is looked up in the ledger, at most once a second, and less often where
//     there are more than a thousand lanes: from a little before the last look, and now and then from its low key, for
//     jobs that took long to commit;
//  2. a lane that is never empty is compared with the ledger while its low key is raised: a job that waits there long
//     before the lane's head was lost on its way, and is put into the window;
//  3. a slow sweep walks through all jobs for ready ones that lie before their lane's low key.
//
// Low keys are the ledger's own: the place of the first job that waits, less a lag for commits that are on their way.
// No hub derives one from its window, so none passes a job that another hub was to dispatch.
import type { Ref } from "../domain/lane.js";
import { firstUuid } from "../domain/uuid.js";
import type { Lanes, Stretch } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { RaisedLowKey } from "../ledger/raise-low-keys.js";
import type { LaneBook } from "./lane-book.js";

export interface LaneRefillSettings {
  /** Refs per page. */
  readonly pageRefsMax: number;
  /** How long after its last look an empty lane is looked up again, unless there are many. */
  readonly emptyLookIntervalMs: number;
  /** Looks at empty lanes in a second, of a hub whose sessions are hungry for all of them. */
  readonly emptyLooksPerSecondMax: number;
  /** Lookups at once. */
  readonly looksMax: number;
  /**
   * Hubs share the lanes: jobs are dealt among them instead of being read by each, and a hub that starts reads
   * nothing that its sessions do not ask for.
   */
  readonly isShared: boolean;
  /** The sweep's pace: so many jobs each interval. */
  readonly sweepJobs: number;
  readonly sweepIntervalMs: number;
}

export const defaultLaneRefillSettings: LaneRefillSettings = {
  pageRefsMax: 5_000,
  emptyLookIntervalMs: 1_000,
  emptyLooksPerSecondMax: 1_000,
  looksMax: 4,
  isShared: false,
  sweepJobs: 1_000,
  sweepIntervalMs: 500,
};

/** Among hubs that share lanes: smaller pages, so that each has some. */
export const sharedLaneRefillSettings: LaneRefillSettings = {
  ...defaultLaneRefillSettings,
  pageRefsMax: 2_000,
  isShared: true,
};

/**
 * A job may commit this long after its place was given out (the statement timeout bounds it), so low keys stay
 * that far behind the present.
 */
const commitLagMs = 40_000;
/** What commits later after its place was given out is found by the next look at the whole lane. */
const usualCommitMs = 5_000;
const wholeLookIntervalMs = 30_000;
const raiseIntervalMs = 5_000;
/** A job that waits this much longer than its lane's head is not merely in another hub's window. */
const overdueMs = 10_000;
const overdueRefsMax = 1_000;
const microseconds = 1_000;

type RefillLedger = Pick<Ledger, "readLanePage" | "dealLanePage" | "raiseLowKeys" | "readStragglers">;

/** What became of looks, for metrics. */
export type LookOutcome = "wanted" | "empty" | "overdue" | "straggler";

export class LaneRefill {
  readonly #ledger: RefillLedger;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #settings: LaneRefillSettings;
  readonly #onError: (error: unknown) => void;
  readonly #refilled: (why: LookOutcome, refs: number) => void;
  readonly #waiting = new Set<number>();
  readonly #lookedAtMs = new Map<number, number>();
  readonly #lookedThrough = new Map<number, { readonly key: number; readonly wholeAtMs: number }>();
  readonly #lowKeys = new Map<number, number>();
  /** Lanes whose low key may have moved, and since when they may not any more. */
  readonly #movedAtMs = new Map<number, number>();
  readonly #timers: NodeJS.Timeout[] = [];
  #looks = 0;
  #sweepAfterId = firstUuid;
  #isStopped = false;

  constructor(
    ledger: RefillLedger,
    lanes: Lanes,
    book: LaneBook,
    settings: LaneRefillSettings,
    onError: (error: unknown) => void,
    refilled: (why: LookOutcome, refs: number) => void = () => undefined,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#settings = settings;
    this.#onError = onError;
    this.#refilled = refilled;
  }

  /** Begins to fill every known lane; a lane can be claimed from as soon as its first page is in. */
  start(): void {
    if (!this.#settings.isShared) for (const lane of this.#book.all()) this.#enqueue(lane.laneId);
    this.#every(raiseIntervalMs, () => this.#raiseLowKeys());
    this.#every(this.#settings.sweepIntervalMs, () => this.#sweep());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#raiseLowKeys().catch(() => undefined);
  }

  /** Refs came into a lane's window, or it runs low. */
  laneChanged(laneId: number): void {
    this.#movedAtMs.set(laneId, Date.now());
    if (this.#lanes.wants(laneId)) this.#enqueue(laneId);
  }

  /** Hungry sessions found a lane empty. */
  starved(laneId: number): void {
    const stretch = this.#lanes.seek(laneId);
    const lookedAt = this.#lookedAtMs.get(laneId) ?? 0;
    const { emptyLookIntervalMs, emptyLooksPerSecondMax } = this.#settings;
    const intervalMs = Math.max(emptyLookIntervalMs, (this.#book.size * 1_000) / emptyLooksPerSecondMax);
    if (stretch && Date.now() - lookedAt >= intervalMs) this.#enqueue(laneId);
  }

  #every(intervalMs: number, act: () => Promise<void>): void {
    let isBusy = false;
    this.#timers.push(
      setInterval(() => {
        if (isBusy) return;
        isBusy = true;
        act()
          .catch(this.#onError)
          .finally(() => {
            isBusy = false;
          });
      }, intervalMs),
    );
  }

  #enqueue(laneId: number): void {
    this.#waiting.add(laneId);
    this.#lookedAtMs.set(laneId, Date.now());
    this.#next();
  }

  #next(): void {
    while (!this.#isStopped && this.#looks < this.#settings.looksMax) {
      const [laneId] = this.#waiting;
      if (laneId === undefined) return;
      this.#waiting.delete(laneId);
      this.#looks += 1;
      void this.#look(laneId).finally(() => {
        this.#looks -= 1;
        this.#next();
      });
    }
  }

  async #look(laneId: number): Promise<void> {
    const wanted = this.#lanes.wants(laneId);
    // Refs may have come while the look waited its turn.
    const stretch = wanted ?? (this.#lanes.head(laneId) ? null : this.#lanes.seek(laneId));
    if (!stretch) return;
    // Jobs may also pass through a lane without a ref: leased as they were submitted, or dispatched by another hub.
    this.#movedAtMs.set(laneId, Date.now());
    this.#lanes.beginFill(laneId, stretch);
    try {
      const refs = await this.#readPage(laneId, stretch);
      this.#lanes.fill(laneId, refs, refs.length < this.#settings.pageRefsMax);
      if (refs.length > 0) this.#refilled(wanted ? "wanted" : "empty", refs.length);
    } catch (error) {
      this.#lanes.fillFailed(laneId);
      this.#onError(error);
    }
  }

  async #readPage(laneId: number, { afterKey, throughKey }: Stretch): Promise<Ref[]> {
    const { isShared, pageRefsMax } = this.#settings;
    const nowMs = Date.now();
    if (isShared)
      return this.#ledger.dealLanePage(laneId, afterKey, throughKey ?? nowMs * microseconds, pageRefsMax);
    const last = this.#lookedThrough.get(laneId);
    const isWhole = !last || nowMs - last.wholeAtMs >= wholeLookIntervalMs;
    const from = Math.max(afterKey, this.#lowKeyOf(laneId), isWhole ? 0 : last.key);
    const refs = await this.#ledger.readLanePage(laneId, from, pageRefsMax);
    if (refs.length < pageRefsMax)
      this.#lookedThrough.set(laneId, {
        key: (nowMs - usualCommitMs) * microseconds,
        wholeAtMs: isWhole && afterKey === 0 ? nowMs : (last?.wholeAtMs ?? 0),
      });
    return refs;
  }

  #lowKeyOf(laneId: number): number {
    return this.#lowKeys.get(laneId) ?? this.#book.savedLowKey(laneId);
  }

  async #raiseLowKeys(): Promise<void> {
    const throughMs = Date.now() - commitLagMs;
    const laneIds = [...this.#movedAtMs.keys()];
    if (laneIds.length === 0) return;
    for (const raised of await this.#ledger.raiseLowKeys(laneIds, throughMs * microseconds)) {
      const { laneId, lowKey } = raised;
      this.#lowKeys.set(laneId, Math.max(lowKey, this.#lowKeyOf(laneId)));
      if ((this.#movedAtMs.get(laneId) ?? 0) * microseconds <= lowKey) this.#movedAtMs.delete(laneId);
      if (!this.#isStopped) await this.#fetchOverdue(raised);
    }
  }

  /** Jobs that the ledger has waited with for longer than the lane's head did: nobody has their refs. */
  async #fetchOverdue({ laneId, oldestReadyKey }: RaisedLowKey): Promise<void> {
    const head = this.#lanes.head(laneId);
    const beforeKey = head ? head.readyKey - overdueMs * microseconds : 0;
    if (oldestReadyKey === null || oldestReadyKey >= beforeKey) return;
    const page = await this.#ledger.readLanePage(laneId, oldestReadyKey - 1, overdueRefsMax);
    const overdue = page.filter(({ readyKey }) => readyKey < beforeKey);
    if (overdue.length === 0) return;
    this.#lanes.giveBack(overdue);
    this.#refilled("overdue", overdue.length);
  }

  async #sweep(): Promise<void> {
    const page = await this.#ledger.readStragglers(this.#sweepAfterId, this.#settings.sweepJobs);
    this.#sweepAfterId = page.nextJobId ?? firstUuid;
    if (page.refs.length === 0) return;
    this.#lanes.giveBack(page.refs);
    this.#refilled("straggler", page.refs.length);
  }
}
