import { type JsonObject, toJson } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Cadence,
  CatchUpPolicy,
  type Schedule,
  ScheduleSchema,
  type ScheduleSpec,
} from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { formatElapsed } from "./elapsed.js";
import { JSON_OPTIONS } from "./job-json.js";
import { relative, time } from "./job-text.js";
import { catchUpWord, overlapWord, priorityWord, stateWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { formatFields } from "./table.js";

export const SCHEDULE_HEADINGS = ["NAME", "CADENCE", "KIND", "NEXT", "LAST", "FIRED", "STATE"] as const;

export function scheduleRow(schedule: Schedule, nowMs: number, paint: Paint): string[] {
  return [
    schedule.name,
    cadenceText(schedule.spec?.cadence),
    schedule.spec?.job?.kind ?? "",
    relative(schedule.nextAt, nowMs),
    relative(schedule.lastAt, nowMs),
    String(schedule.fired),
    stateText(schedule, nowMs, paint),
  ];
}

/** One schedule in full. */
export function scheduleText(schedule: Schedule, nowMs: number, paint: Paint): string {
  const { spec } = schedule;
  return formatFields(
    [
      ["schedule", paint.strong(schedule.name)],
      ["cadence", cadenceText(spec?.cadence)],
      ["state", stateText(schedule, nowMs, paint)],
      ["next", time(schedule.nextAt, nowMs)],
      ["starts", time(spec?.startsAt, nowMs)],
      ["ends", time(spec?.endsAt, nowMs)],
      ["kind", spec?.job?.kind],
      ["product", spec?.job?.product],
      ["queue", spec?.job?.queue],
      ["priority", spec?.job && priorityWord(spec.job.priority)],
      ["event source", spec?.eventSource || undefined],
      ["overlap", spec && overlapWord(spec.overlap)],
      ["catch-up", spec && catchUpText(spec)],
      [
        "jitter",
        spec?.jitter && durationMs(spec.jitter) > 0 ? `up to ${lengthText(spec.jitter)}` : undefined,
      ],
      ["last", time(schedule.lastAt, nowMs)],
      ["last job", lastJobText(schedule)],
      ["waiting", time(schedule.waitingAt, nowMs)],
      ["times", `${schedule.fired} fired, ${schedule.skipped} skipped, ${schedule.missed} missed`],
      ["made", time(schedule.createdAt, nowMs)],
      ["changed", time(schedule.updatedAt, nowMs)],
    ],
    paint,
  );
}

export function scheduleJson(schedule: Schedule): JsonObject {
  return toJson(ScheduleSchema, schedule, JSON_OPTIONS) as JsonObject;
}

function cadenceText(cadence: Cadence | undefined): string {
  const given = cadence?.cadence;
  if (given?.case === "cron") return `${given.value.expression} (${given.value.zone})`;
  return given?.case === "interval" ? `every ${lengthText(given.value.every)}` : "";
}

function lengthText(length: Duration | undefined): string {
  return length === undefined ? "" : formatElapsed(durationMs(length));
}

function catchUpText({ catchUp, catchUpWindow }: ScheduleSpec): string {
  const word = catchUpWord(catchUp);
  return catchUp === CatchUpPolicy.SKIP ? word : `${word}, up to ${lengthText(catchUpWindow)}`;
}

function lastJobText({ lastJobId, lastJobState }: Schedule): string | undefined {
  if (lastJobId === "") return undefined;
  return lastJobState === 0 ? lastJobId : `${lastJobId}, ${stateWord(lastJobState)}`;
}

function stateText(schedule: Schedule, nowMs: number, paint: Paint): string {
  if (schedule.paused)
    return paint.bad(`paused ${relative(schedule.pausedAt, nowMs)}: ${schedule.pauseReason}`);
  if (schedule.waitingAt !== undefined) return "waits for its newest job";
  return schedule.nextAt === undefined ? "ended" : paint.good("on");
}
