// Keeps lane windows filled from the ledger, and is the backstop of every lane adapter (D9): a lane that hungry
// sessions find empty is looked up in the ledger, at most once a second; and a slow sweep walks through all jobs
// for ready ones that lie where nobody would look again.
import { firstUuid } from "../domain/uuid.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { LaneBook } from "./lane-book.js";

export interface LaneRefillSettings {
  /** Refs per page. */
  readonly pageRefsMax: number;
  /** How long after its last look an empty lane is looked up again. */
  readonly emptyLookIntervalMs: number;
  /** Lookups at once. */
  readonly looksMax: number;
  /** The sweep's pace: so many jobs each interval. */
  readonly sweepJobs: number;
  readonly sweepIntervalMs: number;
}

export const defaultLaneRefillSettings: LaneRefillSettings = {
  pageRefsMax: 5_000,
  emptyLookIntervalMs: 1_000,
  looksMax: 4,
  sweepJobs: 10_000,
  sweepIntervalMs: 5_000,
};

/**
 * A job may commit this long after its place was given out (the statement timeout bounds it), so low keys stay
 * that far behind the present.
 */
const commitLagMs = 40_000;
const saveLowKeysIntervalMs = 5_000;

type RefillLedger = Pick<Ledger, "readLanePage" | "saveLowKeys" | "readStragglers">;

export class LaneRefill {
  readonly #ledger: RefillLedger;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #settings: LaneRefillSettings;
  readonly #onError: (error: unknown) => void;
  readonly #waiting = new Set<number>();
  readonly #lookedAtMs = new Map<number, number>();
  readonly #savedLowKeys = new Map<number, number>();
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
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#settings = settings;
    this.#onError = onError;
  }

  /** Begins to fill every known lane; a lane can be claimed from as soon as its first page is in. */
  start(): void {
    for (const lane of this.#book.all()) this.#enqueue(lane.laneId);
    this.#every(saveLowKeysIntervalMs, () => this.#saveLowKeys());
    this.#every(this.#settings.sweepIntervalMs, () => this.#sweep());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#saveLowKeys().catch(() => undefined);
  }

  /** A lane's window runs low. */
  laneChanged(laneId: number): void {
    if (this.#lanes.wants(laneId)) this.#enqueue(laneId);
  }

  /** Hungry sessions found a lane empty. */
  starved(laneId: number): void {
    const lookedAt = this.#lookedAtMs.get(laneId) ?? 0;
    if (Date.now() - lookedAt >= this.#settings.emptyLookIntervalMs) this.#enqueue(laneId);
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
    // Refs came while the look waited its turn.
    if (!wanted && this.#lanes.head(laneId)) return;
    const afterKey = wanted?.afterKey ?? this.#lowKeyOf(laneId);
    this.#lanes.beginFill(laneId);
    try {
      const refs = await this.#ledger.readLanePage(laneId, afterKey, this.#settings.pageRefsMax);
      this.#lanes.fill(laneId, refs, refs.length < this.#settings.pageRefsMax);
    } catch (error) {
      this.#lanes.fillFailed(laneId);
      this.#onError(error);
    }
  }

  #lowKeyOf(laneId: number): number {
    return this.#savedLowKeys.get(laneId) ?? this.#book.savedLowKey(laneId);
  }

  async #saveLowKeys(): Promise<void> {
    const newest = (Date.now() - commitLagMs) * 1000;
    const marks = [...this.#book.all()]
      .map(({ laneId }) => ({ laneId, lowKey: Math.min(this.#lanes.lowKey(laneId), newest) }))
      .filter((mark) => mark.lowKey > this.#lowKeyOf(mark.laneId));
    if (marks.length === 0) return;
    await this.#ledger.saveLowKeys(marks);
    for (const mark of marks) this.#savedLowKeys.set(mark.laneId, mark.lowKey);
  }

  async #sweep(): Promise<void> {
    const page = await this.#ledger.readStragglers(this.#sweepAfterId, this.#settings.sweepJobs);
    this.#sweepAfterId = page.nextJobId ?? firstUuid;
    if (page.refs.length > 0) this.#lanes.giveBack(page.refs);
  }
}
