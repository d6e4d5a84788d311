// Schedules between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type {
  Cadence as CadenceMessage,
  CadenceSchema,
  ScheduleSchema,
  ScheduleSpec as ScheduleSpecMessage,
  ScheduleSpecSchema,
} from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { type Cadence, timesOf } from "../domain/cadence.js";
import { CatchUpPolicy, OverlapPolicy, type ScheduleSpec, type ScheduleView } from "../domain/schedule.js";
import { checkDuration, checkEnum, checkName, checkText, checkTime, invalid } from "./check.js";
import { optionalTime } from "./job-messages.js";
import { toJobTemplate, toTemplateMessage } from "./job-template.js";
import { dayMs, type EdgeLimits } from "./limits.js";

const defaultReplaceGraceMs = 30_000;
const catchUpWindowMinMs = 60_000;
const catchUpWindowMaxMs = 31 * dayMs;

/** @throws Fault INVALID_FIELD or PAYLOAD_TOO_LARGE */
export function toScheduleSpec(
  message: ScheduleSpecMessage | undefined,
  limits: EdgeLimits,
): { readonly spec: ScheduleSpec; readonly payload: Uint8Array } {
  if (!message) throw invalid("spec", "is required");
  const { job, payload } = toJobTemplate(message.job, "spec.job", limits);
  const startsAtMs = checkTime("spec.starts_at", message.startsAt);
  const endsAtMs = checkTime("spec.ends_at", message.endsAt);
  if (startsAtMs !== null && endsAtMs !== null && endsAtMs < startsAtMs)
    throw invalid("spec.ends_at", "must not be before starts_at");
  const window = "spec.catch_up_window";
  const catchUpWindowMs = checkDuration(window, message.catchUpWindow, catchUpWindowMaxMs, dayMs);
  if (catchUpWindowMs < catchUpWindowMinMs) throw invalid(window, "must be at least 60 s");
  const spec: ScheduleSpec = {
    cadence: toCadence(message.cadence, "spec.cadence"),
    job,
    overlap: checkEnum("spec.overlap", message.overlap as number, OverlapPolicy, OverlapPolicy.Skip),
    replaceGraceMs: checkDuration("spec.replace_grace", message.replaceGrace, dayMs, defaultReplaceGraceMs),
    catchUp: checkEnum("spec.catch_up", message.catchUp as number, CatchUpPolicy, CatchUpPolicy.Skip),
    catchUpWindowMs,
    jitterMs: checkDuration("spec.jitter", message.jitter, dayMs, 0),
    startsAtMs,
    endsAtMs,
    eventSource: message.eventSource === "" ? "" : checkName("spec.event_source", message.eventSource),
  };
  return { spec, payload };
}

/** @throws Fault INVALID_FIELD */
export function toCadence(message: CadenceMessage | undefined, path: string): Cadence {
  const cadence = toCheckedCadence(message, path);
  timesOf(cadence, { startsAtMs: null, endsAtMs: null }, path);
  return cadence;
}

function toCheckedCadence(message: CadenceMessage | undefined, path: string): Cadence {
  switch (message?.cadence.case) {
    case "cron": {
      const { expression, zone } = message.cadence.value;
      return {
        type: "cron",
        expression: checkText(`${path}.cron.expression`, expression, 256, 1),
        zone: checkText(`${path}.cron.zone`, zone || "UTC", 64),
      };
    }
    case "interval": {
      const { every, anchor } = message.cadence.value;
      const field = `${path}.interval.every`;
      const everyMs = checkDuration(field, every, 366 * dayMs, 0);
      if (everyMs < 1_000) throw invalid(field, "must be at least 1 s");
      return { type: "interval", everyMs, anchorMs: checkTime(`${path}.interval.anchor`, anchor) ?? 0 };
    }
    default:
      throw invalid(path, "is required: cron or interval");
  }
}

export function toScheduleMessage(schedule: ScheduleView): MessageInitShape<typeof ScheduleSchema> {
  const isPaused = schedule.pausedAtMs !== null;
  return {
    scheduleId: schedule.scheduleId,
    name: schedule.name,
    spec: toSpecMessage(schedule.spec),
    paused: isPaused,
    pauseReason: schedule.pauseReason,
    ...optionalTime("pausedAt", schedule.pausedAtMs),
    ...optionalTime("nextAt", isPaused ? null : (schedule.next?.atMs ?? null)),
    ...optionalTime("waitingAt", schedule.waiting?.atMs ?? null),
    ...optionalTime("lastAt", schedule.lastAtMs),
    lastJobId: schedule.lastJobId ?? "",
    lastJobState: (schedule.lastJobState ?? 0) as number,
    fired: BigInt(schedule.fired),
    skipped: BigInt(schedule.skipped),
    missed: BigInt(schedule.missed),
    ...optionalTime("createdAt", schedule.createdAtMs),
    ...optionalTime("updatedAt", schedule.updatedAtMs),
  };
}

function toSpecMessage(spec: ScheduleSpec): MessageInitShape<typeof ScheduleSpecSchema> {
  return {
    cadence: toCadenceMessage(spec.cadence),
    job: toTemplateMessage(spec.job),
    overlap: spec.overlap as number,
    replaceGrace: durationFromMs(spec.replaceGraceMs),
    catchUp: spec.catchUp as number,
    catchUpWindow: durationFromMs(spec.catchUpWindowMs),
    jitter: durationFromMs(spec.jitterMs),
    ...optionalTime("startsAt", spec.startsAtMs),
    ...optionalTime("endsAt", spec.endsAtMs),
    eventSource: spec.eventSource,
  };
}

function toCadenceMessage(cadence: Cadence): MessageInitShape<typeof CadenceSchema> {
  if (cadence.type === "cron") {
    const { expression, zone } = cadence;
    return { cadence: { case: "cron", value: { expression, zone } } };
  }
  const every = durationFromMs(cadence.everyMs);
  return {
    cadence: { case: "interval", value: { every, anchor: timestampFromMs(cadence.anchorMs) } },
  };
}
