import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { type InboxEntry, InboxEntrySchema } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { JSON_OPTIONS } from "./job-json.js";
import { relative, time } from "./job-text.js";
import { priorityWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { formatFields } from "./table.js";

export const INBOX_HEADINGS = ["JOB", "KIND", "BY", "SUBMITTED", "STATE"] as const;

export function inboxRow(entry: InboxEntry, nowMs: number, paint: Paint): string[] {
  return [
    entry.jobId,
    entry.kind,
    entry.submittedBy,
    relative(entry.submittedAt, nowMs),
    stateText(entry, paint),
  ];
}

/** One entry in full. */
export function inboxText(entry: InboxEntry, nowMs: number, paint: Paint): string {
  return formatFields(
    [
      ["job", paint.strong(entry.jobId)],
      ["kind", entry.kind],
      ["product", entry.product],
      ["queue", entry.queue],
      ["priority", priorityWord(entry.priority)],
      ["capabilities", entry.capabilities.join(", ") || undefined],
      ["source", entry.source || undefined],
      ["fairness", entry.fairness && `${entry.fairness.key}, weight ${entry.fairness.weight}`],
      ["idempotency key", entry.idempotencyKey || undefined],
      ["payload", `${entry.payloadBytes} bytes`],
      ["submitted", time(entry.submittedAt, nowMs)],
      ["by role", entry.submittedBy],
      ["state", stateText(entry, paint)],
      ["refused", time(entry.refusedAt, nowMs)],
    ],
    paint,
  );
}

export function inboxJson(entry: InboxEntry): JsonObject {
  return toJson(InboxEntrySchema, entry, JSON_OPTIONS) as JsonObject;
}

function stateText({ refusal }: InboxEntry, paint: Paint): string {
  return refusal === undefined ? "waiting" : `${paint.bad("refused")} ${refusal.reason}: ${refusal.message}`;
}
