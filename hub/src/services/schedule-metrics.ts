import { metrics } from "@opentelemetry/api";
import { WindowState } from "../domain/backfill.js";

/** What firing schedules is watched by. */
export function scheduleMetrics() {
  const meter = metrics.getMeter("holdfast");
  const times = meter.createCounter("holdfast.schedules.times", {
    description:
      "Times of schedules that this hub settled, by outcome: fired, skipped (a job was open), missed (no hub ran)",
  });
  const lateness = meter.createHistogram("holdfast.schedules.lateness", {
    description: "From the time of a schedule until its job is entered",
    unit: "s",
    advice: { explicitBucketBoundaries: [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 600, 3_600] },
  });
  return {
    fired: (lateMs: number) => {
      times.add(1, { outcome: "fired" });
      lateness.record(lateMs / 1_000);
    },
    passed: (why: "skipped" | "missed", count: number) => times.add(count, { outcome: why }),
  };
}

/** What backfills are watched by. */
export function backfillMetrics() {
  const meter = metrics.getMeter("holdfast");
  const windows = meter.createCounter("holdfast.backfills.windows", {
    description: "Windows of backfills that this hub settled, by outcome: submitted, skipped (done already)",
  });
  let active: ReadonlyMap<number, number> = new Map();
  meter
    .createObservableGauge("holdfast.backfills.active_windows", {
      description: "Windows of running backfills, by state",
    })
    .addCallback((gauge) => {
      for (const [word, state] of Object.entries(WindowState))
        gauge.observe(active.get(state) ?? 0, { state: word.toLowerCase() });
    });
  return {
    submitted: (count: number) => windows.add(count, { outcome: "submitted" }),
    skipped: (count: number) => windows.add(count, { outcome: "skipped" }),
    counted: (found: ReadonlyMap<number, number>) => {
      active = found;
    },
  };
}
