import type { Ledger } from "../ledger/ledger.js";
import { BackfillClock } from "./backfill-clock.js";
import { Backfills } from "./backfills.js";
import type { Jobs } from "./jobs.js";
import { ScheduleClock } from "./schedule-clock.js";
import { backfillMetrics, scheduleMetrics } from "./schedule-metrics.js";
import { Schedules } from "./schedules.js";

/** Everything that a hub does by the calendar, put together. */
export function scheduleServices(ledger: Ledger, stopJob: Jobs["stop"], failed: (error: unknown) => void) {
  const scheduleClock = new ScheduleClock(ledger, stopJob, { ...scheduleMetrics(), failed });
  const backfillClock = new BackfillClock(ledger, stopJob, { ...backfillMetrics(), failed });
  return {
    schedules: new Schedules(ledger, () => scheduleClock.hurry()),
    backfills: new Backfills(ledger, () => backfillClock.hurry()),
    start(): void {
      scheduleClock.start();
      backfillClock.start();
    },
    async stop(): Promise<void> {
      await Promise.all([scheduleClock.stop(), backfillClock.stop()]);
    },
  };
}
