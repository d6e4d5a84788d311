// Fires what is due: scheduled jobs become ready, waits are over, deadlines and cancel graces end jobs. The times are rows in the
// ledger; this only knows when to look next, and looks every second in any case, for other hubs' rows.
import type { Lanes } from "../lanes/lanes.js";
import type { FiredEnds } from "../ledger/fire-timers.js";
import type { Ledger } from "../ledger/ledger.js";
import type { FiredGraces } from "../ledger/preempt.js";
import type { JobFeed } from "./job-feed.js";
import type { RevokedLease } from "./session-messages.js";
import type { Wakes } from "./wakes.js";

const lookIntervalMs = 1_000;
const timersPerLookMax = 1_000;
/** Looks are at least this far apart, however many times are noted. */
const lookSpacingMs = 5;

export class Timers {
  readonly #ledger: Pick<
    Ledger,
    "fireReadyTimers" | "fireDeadlines" | "fireStartDeadlines" | "fireCancelGraces" | "firePreemptGraces"
  >;
  readonly #lanes: Lanes;
  readonly #feed: JobFeed;
  readonly #wakes: Pick<Wakes, "look">;
  readonly #revoke: (sessionId: string, lease: RevokedLease) => void;
  readonly #onError: (error: unknown) => void;
  #nextLook: NodeJS.Timeout | undefined;
  #nextLookAtMs = Number.POSITIVE_INFINITY;
  #isStopped = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(
    ledger: Pick<
      Ledger,
      "fireReadyTimers" | "fireDeadlines" | "fireStartDeadlines" | "fireCancelGraces" | "firePreemptGraces"
    >,
    lanes: Lanes,
    feed: JobFeed,
    wakes: Pick<Wakes, "look">,
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
    this.#nextLookAtMs = Math.min(atMs, Date.now() + lookIntervalMs);
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
      const ready = await this.#ledger.fireReadyTimers(timersPerLookMax);
      this.#lanes.offer(ready.refs);
      for (const ref of ready.refs) this.#feed.changed(ref.jobId);
      const deadlines = await this.#ledger.fireDeadlines(timersPerLookMax);
      this.#ended(deadlines, "deadline", "The job's deadline passed.");
      const lateStarts = await this.#ledger.fireStartDeadlines(timersPerLookMax);
      this.#ended(lateStarts, "deadline", "The job's time to start passed.");
      const cancels = await this.#ledger.fireCancelGraces(timersPerLookMax);
      this.#ended(cancels, "cancelled", "The cancel's grace period is over.");
      const graces = await this.#ledger.firePreemptGraces(timersPerLookMax);
      this.#preempted(graces);
      const isMoreToWake = await this.#wakes.look(timersPerLookMax);
      const fired = [ready, deadlines, lateStarts, cancels, graces];
      const isMore = isMoreToWake || fired.some(({ taken }) => taken === timersPerLookMax);
      this.noteDue(isMore ? Date.now() : Date.now() + lookIntervalMs);
    } catch (error) {
      this.#onError(error);
      this.noteDue(Date.now() + lookIntervalMs);
    }
  }

  #preempted({ ended }: FiredGraces): void {
    const message = "The grace of the preempted lease is over.";
    this.#lanes.offer(ended.map(({ ref }) => ref));
    for (const { lease } of ended) {
      this.#revoke(lease.sessionId, { ...lease, reason: "preempted", graceMs: 0, message });
      this.#feed.changed(lease.jobId);
    }
  }

  #ended(fired: FiredEnds, reason: RevokedLease["reason"], message: string): void {
    for (const { jobId, sessionId, fencingToken } of fired.leases)
      this.#revoke(sessionId, { jobId, fencingToken, reason, graceMs: 0, message });
    for (const jobId of fired.endedJobIds) this.#feed.changed(jobId);
  }
}
