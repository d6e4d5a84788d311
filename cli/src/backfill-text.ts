import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type Backfill,
  BackfillSchema,
  BackfillState,
  type BackfillWindow,
  BackfillWindowSchema,
  type Watermark,
  WatermarkSchema,
  type WindowCounts,
  WindowState,
} from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { formatElapsed } from "./elapsed.js";
import { JSON_OPTIONS } from "./job-json.js";
import { relative, time } from "./job-text.js";
import { backfillStateWord, priorityWord, windowStateWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { formatFields } from "./table.js";

export const BACKFILL_HEADINGS = ["BACKFILL", "SOURCE", "FROM", "TO", "STATE", "WINDOWS"] as const;

export function backfillRow(backfill: Backfill, paint: Paint): string[] {
  const { range } = backfill;
  return [
    backfill.backfillId,
    range?.source ?? "",
    utc(range?.from),
    utc(range?.to),
    stateText(backfill.state, paint),
    countsText(backfill.windows),
  ];
}

/** One backfill in full. */
export function backfillText(backfill: Backfill, nowMs: number, paint: Paint): string {
  const { range, job, windows } = backfill;
  const pace = backfill.perMinuteMax === 0 ? "" : `, ${backfill.perMinuteMax} a minute`;
  return formatFields(
    [
      ["backfill", paint.strong(backfill.backfillId)],
      ["state", stateText(backfill.state, paint)],
      ["source", range?.source],
      ["from", utc(range?.from)],
      ["to", utc(range?.to)],
      ["step", range?.step && formatElapsed(durationMs(range.step))],
      ["windows", countsText(windows)],
      ["pace", `${backfill.inFlightMax} at once${pace}`],
      ["kind", job?.kind],
      ["product", job?.product],
      ["queue", job?.queue],
      ["priority", job && priorityWord(job.priority)],
      ["started", time(backfill.createdAt, nowMs)],
      ["by", backfill.createdBy || undefined],
      ["ended", time(backfill.endedAt, nowMs)],
    ],
    paint,
  );
}

export function backfillJson(backfill: Backfill): JsonObject {
  return toJson(BackfillSchema, backfill, JSON_OPTIONS) as JsonObject;
}

export const WINDOW_HEADINGS = ["FROM", "TO", "STATE", "JOB"] as const;

export function windowRow(window: BackfillWindow, paint: Paint): string[] {
  const word = windowStateWord(window.state);
  return [
    utc(window.from),
    utc(window.to),
    window.state === WindowState.FAILED ? paint.bad(word) : word,
    window.jobId || "-",
  ];
}

export function windowJson(window: BackfillWindow): JsonObject {
  return toJson(BackfillWindowSchema, window, JSON_OPTIONS) as JsonObject;
}

export const WATERMARK_HEADINGS = ["SOURCE", "WATERMARK", "", "DONE THROUGH", "OPEN", "FAILED"] as const;

export function watermarkRow(watermark: Watermark, nowMs: number, paint: Paint): string[] {
  const { source, open, failed } = watermark;
  return [
    source,
    utc(watermark.watermark),
    relative(watermark.watermark, nowMs),
    utc(watermark.doneThrough),
    String(open),
    failed > 0 ? paint.bad(String(failed)) : "0",
  ];
}

/** One watermark in full, with the ranges that are done. */
export function watermarkText(watermark: Watermark, nowMs: number, paint: Paint): string {
  return formatFields(
    [
      ["source", paint.strong(watermark.source)],
      ["origin", utc(watermark.origin)],
      ["watermark", time(watermark.watermark, nowMs)],
      ["open", String(watermark.open)],
      ["failed", watermark.failed > 0 ? paint.bad(String(watermark.failed)) : "0"],
      ...watermark.done.map(({ from, to }) => ["done", `${utc(from)} to ${utc(to)}`] as const),
    ],
    paint,
  );
}

export function watermarkJson(watermark: Watermark): JsonObject {
  return toJson(WatermarkSchema, watermark, JSON_OPTIONS) as JsonObject;
}

/** A time of events, in full: how long ago it is says little. */
export function utc(at: Timestamp | undefined): string {
  return at === undefined ? "-" : timestampDate(at).toISOString();
}

function stateText(state: BackfillState, paint: Paint): string {
  const word = backfillStateWord(state);
  if (state === BackfillState.FINISHED) return paint.good(word);
  return state === BackfillState.RUNNING ? word : paint.bad(word);
}

function countsText(windows: WindowCounts | undefined): string {
  if (windows === undefined) return "";
  const states = ["done", "submitted", "waiting", "failed", "skipped", "cancelled"] as const;
  const counted = states.flatMap((state) => (windows[state] > 0 ? [`${windows[state]} ${state}`] : []));
  return `${windows.total}: ${counted.join(", ")}`;
}
