// Fires what is due: scheduled jobs become ready, waits are over, deadlines and cancel graces end jobs. The times are rows in the
// ledger; this only knows when to look next, and looks every second in any case, for other hubs' rows.
import type { Lanes } from "../lanes/lanes.js";
import type { FiredEnds, FiredReady, TimerPurpose } from "../ledger/fire-timers.js";
import type { Ledger } from "../ledger/ledger.js";
import type { FiredGraces } from "../ledger/preempt.js";
import type { JobFeed } from "./job-feed.js";
import type { RevokedLease } from "./session-messages.js";
import type { Wakes } from "./wakes.js";

const lookIntervalMs = 1_000;
const timersPerLookMax = 1_000;
/** Looks are at least this far apart, however many times are noted. */
const lookSpacingMs = 5;

type TimersLedger = Pick<
  Ledger,
  | "readDueTimers"
  | "fireReadyTimers"
  | "fireDeadlines"
  | "fireStartDeadlines"
  | "fireCancelGraces"
  | "firePreemptGraces"
>;

export class Timers {
  readonly #ledger: TimersLedger;
  readonly #lanes: Lanes;
  readonly #feed: JobFeed;
  readonly #wakes: Pick<Wakes, "timedOut" | "left">;
  readonly #revoke: (sessionId: string, lease: RevokedLease) => void;
  readonly #onError: (error: unknown) => void;
  #nextLook: NodeJS.Timeout | undefined;
  #nextLookAtMs = Number.POSITIVE_INFINITY;
  #isStopped = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(
    ledger: TimersLedger,
    lanes: Lanes,
    feed: JobFeed,
    wakes: Pick<Wakes, "timedOut" | "left">,
    revoke: (sessionId: string, lease: RevokedLease) => void,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#feed = feed;
    this.#wakes = wakes;
    this.#revoke = revoke;
    this.#onError = onError;
  }

  start(): void {
    this.#lookAt(Date.now());
  }

  /** Something is due at this time (milliseconds since 1970, the ledger's clock). */
  noteDue(dueAtMs: number): void {
    if (dueAtMs < this.#nextLookAtMs) this.#lookAt(dueAtMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#nextLook);
    await this.#looking;
  }

  #lookAt(atMs: number): void {
    if (this.#isStopped) return;
    clearTimeout(this.#nextLook);
    // Timers of Node may come a moment early, and times in the ledger have microseconds.
    this.#nextLookAtMs = Math.min(atMs + 1, Date.now() + lookIntervalMs);
    this.#nextLook = setTimeout(
      () => {
        this.#nextLookAtMs = Number.POSITIVE_INFINITY;
        this.#looking = this.#looking.then(() => this.#look());
      },
      Math.max(this.#nextLookAtMs - Date.now(), lookSpacingMs),
    );
  }

  async #look(): Promise<void> {
    try {
      let isMore = false;
      for (const purpose of await this.#ledger.readDueTimers())
        isMore = (await this.#fire(purpose)) || isMore;
      isMore = (await this.#wakes.left()) || isMore;
      this.noteDue(isMore ? Date.now() : Date.now() + lookIntervalMs);
    } catch (error) {
      this.#onError(error);
      this.noteDue(Date.now() + lookIntervalMs);
    }
  }

  /** Answers whether there may be more. */
  async #fire(purpose: TimerPurpose): Promise<boolean> {
    const limit = timersPerLookMax;
    switch (purpose) {
      case "ready":
        return this.#readied(await this.#ledger.fireReadyTimers(limit));
      case "deadline":
        return this.#ended(await this.#ledger.fireDeadlines(limit), "deadline", "The job's deadline passed.");
      case "startDeadline": {
        const fired = await this.#ledger.fireStartDeadlines(limit);
        return this.#ended(fired, "deadline", "The job's time to start passed.");
      }
      case "cancelGrace": {
        const fired = await this.#ledger.fireCancelGraces(limit);
        return this.#ended(fired, "cancelled", "The cancel's grace period is over.");
      }
      case "preemptGrace":
        return this.#preempted(await this.#ledger.firePreemptGraces(limit));
      case "waitTimeout":
        return await this.#wakes.timedOut(limit);
    }
  }

  #readied({ refs, taken }: FiredReady): boolean {
    this.#lanes.offer(refs);
    for (const ref of refs) this.#feed.changed(ref.jobId);
    return taken === timersPerLookMax;
  }

  #preempted({ ended, taken }: FiredGraces): boolean {
    const message = "The grace of the preempted lease is over.";
    this.#lanes.offer(ended.map(({ ref }) => ref));
    for (const { lease } of ended) {
      this.#revoke(lease.sessionId, { ...lease, reason: "preempted", graceMs: 0, message });
      this.#feed.changed(lease.jobId);
    }
    return taken === timersPerLookMax;
  }

  #ended(fired: FiredEnds, reason: RevokedLease["reason"], message: string): boolean {
    for (const { jobId, sessionId, fencingToken } of fired.leases)
      this.#revoke(sessionId, { jobId, fencingToken, reason, graceMs: 0, message });
    for (const jobId of fired.endedJobIds) this.#feed.changed(jobId);
    return fired.taken === timersPerLookMax;
  }
}
