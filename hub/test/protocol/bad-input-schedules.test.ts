import { BackfillService, type WindowState } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { ScheduleService } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { describe } from "vitest";
import {
  absent,
  bad,
  forged,
  KiB,
  many,
  noUuid,
  testRefusals,
  useWitnessedHub,
} from "../harness/bad-calls.js";
import { duration, inMs } from "../harness/raw-jobs.js";

const house = useWitnessedHub();
const { set, get, list, trigger, previewTimes } = ScheduleService.method;
const { preview, start, listWindows, cancel, getWatermark } = BackfillService.method;
const justification = { reason: "r", ticket: "t" };

const cron = (expression: string, zone = "") =>
  ({ cadence: { case: "cron", value: { expression, zone } } }) as const;
const every = (ms: number) => ({ cadence: { case: "interval", value: { every: duration(ms) } } }) as const;
const spec = (more: object = {}) => ({ cadence: every(60_000), job: { kind: "k" }, ...more });
const schedule = (more: object = {}) => ({ name: "n", spec: spec(more), justification });
const range = (more: object = {}) => ({
  source: "s",
  from: inMs(-60_000),
  to: inMs(0),
  step: duration(1_000),
  ...more,
});
const job = (more: object) => ({ job: { kind: "k", ...more } });

describe("a schedule that cannot be is refused, naming the field", () => {
  testRefusals(house, [
    bad("no name", set, { ...schedule(), name: "" }, "name"),
    bad("no specification", set, { name: "n", justification }, "spec"),
    bad("no cadence", set, schedule({ cadence: {} }), "spec.cadence"),
    bad("no expression", set, schedule({ cadence: cron("") }), "spec.cadence.cron.expression"),
    bad("a bad expression", set, schedule({ cadence: cron("61 * * * *") }), "spec.cadence.cron.expression"),
    bad(
      "a zone that is none",
      set,
      schedule({ cadence: cron("* * * * *", "Mars/Olympus") }),
      "spec.cadence.cron.zone",
    ),
    bad(
      "an interval that is too short",
      set,
      schedule({ cadence: every(999) }),
      "spec.cadence.interval.every",
    ),
    bad("no job", set, schedule({ job: undefined }), "spec.job"),
    bad("a job without a kind", set, schedule({ job: {} }), "spec.job.kind"),
    bad("a job with a key", set, schedule(job({ idempotencyKey: "x" })), "spec.job.idempotency_key"),
    bad("a job with a unique key", set, schedule(job({ unique: { key: "x" } })), "spec.job.unique"),
    bad("a job with a time", set, schedule(job({ runAt: inMs(0) })), "spec.job.run_at"),
    bad("a job that depends", set, schedule(job({ dependsOn: [{}] })), "spec.job.depends_on"),
    bad("a job with a window", set, schedule(job({ window: {} })), "spec.job.window"),
    bad(
      "too many labels",
      set,
      schedule(job({ labels: Object.fromEntries(many(91, (at) => [`l${at}`, ""])) })),
      "spec.job.labels",
    ),
    bad(
      "a payload that is too large",
      set,
      schedule(job({ payload: new Uint8Array(4 * KiB + 1) })),
      "spec.job.payload",
      [3, "PAYLOAD_TOO_LARGE"],
    ),
    bad("an unknown overlap policy", set, schedule({ overlap: 9 }), "spec.overlap"),
    bad("an unknown catch-up policy", set, schedule({ catchUp: 9 }), "spec.catch_up"),
    bad(
      "a window that is too short",
      set,
      schedule({ catchUpWindow: duration(1_000) }),
      "spec.catch_up_window",
    ),
    bad(
      "an end before the start",
      set,
      schedule({ startsAt: inMs(0), endsAt: inMs(-1_000) }),
      "spec.ends_at",
    ),
    bad("a bad source", set, schedule({ eventSource: "Not ok" }), "spec.event_source"),
    bad("no reason", set, { name: "n", spec: spec() }, "justification.reason", [7, "AUDIT_FIELDS_MISSING"]),
    bad("an absent schedule", get, { name: "absent" }, /^$/, [5, "SCHEDULE_NOT_FOUND"]),
    bad("an absent schedule", trigger, { name: "absent", justification }, /^$/, [5, "SCHEDULE_NOT_FOUND"]),
    bad("a page token of another list", list, { pageToken: forged("x", ["runs", 1]) }, "page_token"),
    bad("no target", previewTimes, {}, "target"),
    bad(
      "too many times",
      previewTimes,
      { target: { case: "cadence", value: every(1_000) }, count: 101 },
      "count",
    ),
  ]);
});

describe("a window or backfill that cannot be is refused, naming the field", () => {
  testRefusals(house, [
    bad(
      "a window without a source",
      JobService.method.submit,
      job({ window: { from: inMs(0), to: inMs(9) } }),
      "job.window.source",
    ),
    bad(
      "a window without a begin",
      JobService.method.submit,
      job({ window: { source: "s", to: inMs(9) } }),
      "job.window.from",
    ),
    bad(
      "an empty window",
      JobService.method.submit,
      job({ window: { source: "s", from: inMs(9), to: inMs(9) } }),
      "job.window.to",
    ),
    bad("no range", preview, {}, "range"),
    bad("a range that ends before it begins", preview, { range: range({ to: inMs(-90_000) }) }, "range.to"),
    bad("no step", preview, { range: range({ step: undefined }) }, "range.step"),
    bad("too many windows", preview, { range: range({ from: inMs(-100_001_000) }) }, "range.step"),
    bad("no job", start, { range: range(), justification }, "job"),
    bad(
      "too many in flight",
      start,
      { range: range(), ...job({}), inFlightMax: 10_001, justification },
      "in_flight_max",
    ),
    bad(
      "too many per minute",
      start,
      { range: range(), ...job({}), perMinuteMax: -1, justification },
      "per_minute_max",
    ),
    bad(
      "no ticket",
      start,
      { range: range(), ...job({}), justification: { reason: "r" } },
      "justification.ticket",
      [7, "AUDIT_FIELDS_MISSING"],
    ),
    bad("an id that is none", listWindows, { backfillId: noUuid }, "backfill_id"),
    bad("an absent backfill", listWindows, { backfillId: absent }, /^$/, [5, "BACKFILL_NOT_FOUND"]),
    bad("an unknown state", listWindows, { backfillId: absent, state: 9 as WindowState }, "state"),
    bad("an absent backfill", cancel, { backfillId: absent, justification }, /^$/, [5, "BACKFILL_NOT_FOUND"]),
    bad("a grace for nothing", cancel, { backfillId: absent, grace: duration(1), justification }, "grace"),
    bad("an absent source", getWatermark, { source: "absent" }, /^$/, [5, "SOURCE_NOT_FOUND"]),
  ]);
});
