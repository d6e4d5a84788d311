// Fires schedules when they are due. Their times are rows in the ledger; this only knows when to look next, and looks
// every second in any case: for what other hubs changed, and for times that wait until a job has ended.
//
// Whichever hub looks decides by what it read, and writes only if that still holds (ledger/fire-schedules.ts): so hubs
// need not agree on who does it.

import { decideFiring, type ScheduleView, scheduledJob } from "../domain/schedule.js";
import type { CancelItem } from "../ledger/cancel-job.js";
import type { FiredJob } from "../ledger/fire-schedules.js";
import type { Ledger } from "../ledger/ledger.js";
import { newId } from "./new-id.js";

const lookIntervalMs = 1_000;
const schedulesPerLookMax = 200;
/** Looks are at least this far apart, however many are asked for. */
const lookSpacingMs = 5;

export interface ScheduleObserver {
  /** A time made a job, so late after it. */
  readonly fired: (lateMs: number) => void;
  /** Times that made none. */
  readonly passed: (why: "skipped" | "missed", times: number) => void;
  readonly failed: (error: unknown) => void;
}

export class ScheduleClock {
  readonly #ledger: Pick<Ledger, "readDueSchedules" | "fireSchedule">;
  readonly #cancel: (item: CancelItem) => Promise<unknown>;
  readonly #observer: ScheduleObserver;
  #nextLook: NodeJS.Timeout | undefined;
  #isHurried = false;
  #isStopped = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(
    ledger: Pick<Ledger, "readDueSchedules" | "fireSchedule">,
    cancel: (item: CancelItem) => Promise<unknown>,
    observer: ScheduleObserver,
  ) {
    this.#ledger = ledger;
    this.#cancel = cancel;
    this.#observer = observer;
  }

  start(): void {
    this.hurry();
  }

  /** Times may be due that this does not know of. */
  hurry(): void {
    this.#isHurried = true;
    this.#lookAfter(lookSpacingMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#nextLook);
    await this.#looking;
  }

  #lookAfter(ms: number): void {
    if (this.#isStopped) return;
    clearTimeout(this.#nextLook);
    this.#nextLook = setTimeout(
      () => {
        this.#looking = this.#looking.then(async () => {
          this.#isHurried = false;
          const pauseMs = await this.#look().catch((error: unknown) => {
            this.#observer.failed(error);
            return lookIntervalMs;
          });
          this.#lookAfter(this.#isHurried ? 0 : pauseMs);
        });
      },
      Math.min(Math.max(Math.ceil(ms), lookSpacingMs), lookIntervalMs),
    );
  }

  /** Answers when to look next. */
  async #look(): Promise<number> {
    const { schedules, nowMs, nextAtMs } = await this.#ledger.readDueSchedules(schedulesPerLookMax);
    const readAtMs = performance.now();
    let soonestMs = nextAtMs ?? Number.POSITIVE_INFINITY;
    for (const schedule of schedules) {
      // What one schedule cannot do keeps no other waiting.
      try {
        soonestMs = Math.min(soonestMs, await this.#fire(schedule, nowMs));
      } catch (error) {
        this.#observer.failed(error);
      }
    }
    return soonestMs - nowMs - (performance.now() - readAtMs);
  }

  /** Answers when the schedule has something to do next, by the ledger's clock. */
  async #fire(schedule: ScheduleView & { readonly tenantId: number }, nowMs: number): Promise<number> {
    const { spec, tenantId } = schedule;
    const firing = decideFiring(spec, schedule, nowMs);
    const isChanged =
      firing.fire.length > 0 ||
      firing.next?.atMs !== schedule.next?.atMs ||
      firing.waiting?.atMs !== schedule.waiting?.atMs;
    if (isChanged) {
      const jobs = firing.fire.map(
        (due): FiredJob => ({
          ...scheduledJob(schedule, due, false),
          jobId: newId(),
          atMs: due.atMs,
        }),
      );
      if (!(await this.#ledger.fireSchedule(schedule, firing, jobs, null))) return nowMs + lookIntervalMs;
      for (const { atMs } of jobs) this.#observer.fired(Math.max(0, nowMs - atMs));
      if (firing.skipped > 0) this.#observer.passed("skipped", firing.skipped);
      if (firing.missed > 0) this.#observer.passed("missed", firing.missed);
    }
    // Looked at again each second until the job has ended, so that a hub that crashed here leaves nothing undone.
    const { lastJobId, lastJobState, isCancelling } = schedule;
    if (firing.isReplacing && firing.fire.length === 0 && lastJobId && lastJobState !== null && !isCancelling)
      await this.#cancel({
        jobId: lastJobId,
        tenantId,
        reason: `replaced by the next of schedule ${schedule.name}`,
        graceMs: spec.replaceGraceMs,
      });
    return Math.max(firing.next?.atMs ?? Number.POSITIVE_INFINITY, nowMs + lookSpacingMs);
  }
}
