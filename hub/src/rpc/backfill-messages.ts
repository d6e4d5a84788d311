// Backfills and watermarks between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type {
  BackfillRange as BackfillRangeMessage,
  BackfillSchema,
  BackfillWindowSchema,
  WatermarkSchema,
} from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import {
  type BackfillRange,
  type BackfillView,
  type BackfillWindowView,
  backfillWindowsMax,
  type WatermarkView,
  windowsOf,
} from "../domain/backfill.js";
import { checkDuration, invalid } from "./check.js";
import { optionalTime, toEventWindow, toWindowMessage } from "./job-messages.js";
import { toTemplateMessage } from "./job-template.js";
import { dayMs } from "./limits.js";

/** @throws Fault INVALID_FIELD */
export function toRange(message: BackfillRangeMessage | undefined): BackfillRange {
  if (!message) throw invalid("range", "is required");
  const { source, fromMs, toMs } = toEventWindow(
    { ...message, $typeName: "holdfast.v1.EventWindow" },
    "range",
  );
  const stepMs = checkDuration("range.step", message.step, 366 * dayMs, 0);
  if (stepMs < 1_000) throw invalid("range.step", "must be at least 1 s");
  const range = { source, fromMs, toMs, stepMs };
  if (windowsOf(range) > backfillWindowsMax)
    throw invalid("range.step", `must cut the range into at most ${backfillWindowsMax} windows`);
  return range;
}

export function toBackfillMessage(backfill: BackfillView): MessageInitShape<typeof BackfillSchema> {
  const { backfillId, range, job, inFlightMax, perMinuteMax, state, windows, createdBy } = backfill;
  return {
    backfillId,
    range: {
      source: range.source,
      ...optionalTime("from", range.fromMs),
      ...optionalTime("to", range.toMs),
      step: durationFromMs(range.stepMs),
    },
    job: toTemplateMessage(job),
    inFlightMax,
    perMinuteMax: perMinuteMax ?? 0,
    state: state as number,
    windows: { ...windows, total: windowsOf(range) },
    createdBy,
    ...optionalTime("createdAt", backfill.createdAtMs),
    ...optionalTime("endedAt", backfill.endedAtMs),
  };
}

export function toWindowViewMessage(
  window: BackfillWindowView,
): MessageInitShape<typeof BackfillWindowSchema> {
  const { fromMs, toMs, state, jobId } = window;
  return {
    ...optionalTime("from", fromMs),
    ...optionalTime("to", toMs),
    state: state as number,
    jobId: jobId ?? "",
  };
}

export function toWatermarkMessage(watermark: WatermarkView): MessageInitShape<typeof WatermarkSchema> {
  const { source, open, failed, done } = watermark;
  return {
    source,
    ...optionalTime("origin", watermark.originMs),
    ...optionalTime("watermark", watermark.watermarkMs),
    ...optionalTime("doneThrough", watermark.doneThroughMs),
    open,
    failed,
    done: done.map((range) => toWindowMessage({ source, ...range })),
  };
}
