import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type AwaitedPlace,
  type Job,
  type JobCause,
  type JobEvent,
  type JobNote,
  JobState,
  type Outcome,
} from "@holdfast/gen/holdfast/v1/job_pb";
import { formatElapsed, formatRelative, formatTime } from "./elapsed.js";
import { readable } from "./job-json.js";
import { eventWord, noteWord, priorityWord, stateWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { spendText } from "./spend-text.js";
import { formatFields, formatTable } from "./table.js";

/** Longest payload or result shown to people; --json has the whole. */
const SHOWN_CHARACTERS_MAX = 2_000;

export const JOB_HEADINGS = ["ID", "KIND", "STATE", "ATTEMPT", "QUEUE", "SUBMITTED", "NOTE"] as const;

export function jobRow(job: Job, nowMs: number, paint: Paint): string[] {
  return [
    job.id,
    job.kind,
    paintedState(job.state, paint),
    `${job.attempt}/${job.maxAttempts}`,
    job.product === "default" ? job.queue : `${job.product}/${job.queue}`,
    relative(job.submittedAt, nowMs),
    jobNote(job, nowMs),
  ];
}

/** A window of event time: "clicks 2027-01-31T00:00:00.000Z to 2027-01-31T01:00:00.000Z". */
function windowText(window: Job["window"]): string | undefined {
  if (window?.from === undefined || window.to === undefined) return undefined;
  return `${window.source} ${timestampDate(window.from).toISOString()} to ${timestampDate(window.to).toISOString()}`;
}

/** One job in full. */
export function jobText(job: Job, nowMs: number, paint: Paint): string {
  return formatFields(
    [
      ["id", paint.strong(job.id)],
      ["kind", job.kind],
      ["state", paintedState(job.state, paint)],
      ["attempt", `${job.attempt} of ${job.maxAttempts}`],
      ["run", job.runId || undefined],
      ["cause", causesText(job.causes, nowMs)],
      ["product", job.product],
      ["queue", job.queue],
      ["priority", priorityWord(job.priority)],
      ["capabilities", job.capabilities.join(", ") || undefined],
      ["labels", labelsText(job)],
      ["source", job.source || undefined],
      ["fairness", job.fairness && `${job.fairness.key}, weight ${job.fairness.weight}`],
      ["in flight", job.inFlight && `${job.inFlight.key}, at most ${job.inFlight.max || "any number"}`],
      ["estimate", spendText(job.estimate)],
      ["unique key", job.uniqueKey || undefined],
      ["submitted", time(job.submittedAt, nowMs)],
      ["runs at", time(job.runAt, nowMs)],
      ["started", time(job.startedAt, nowMs)],
      ["finished", time(job.finishedAt, nowMs)],
      ["start by", time(job.startBy, nowMs)],
      ["window", windowText(job.window)],
      ["deadline", time(job.deadline, nowMs)],
      ["session", job.sessionId || undefined],
      ["waits for", job.awaits && awaitsText(job.awaits, job.id)],
      ["waits since", time(job.awaits?.since, nowMs)],
      ["waits until", time(job.awaits?.timeoutAt, nowMs)],
      ["progress", job.progress && `${Math.round(job.progress.percent)} % ${job.progress.message}`],
      ["checkpoint", job.checkpointSequence === 0n ? undefined : `sequence ${job.checkpointSequence}`],
      ["fencing token", String(job.fencingToken)],
      ["revision", String(job.revision)],
      ["payload", contentText(job.payload, job.contentType)],
      ["outcome", job.outcome && outcomeText(job.outcome)],
    ],
    paint,
  );
}

function awaitsText({ owner, channel, partition, after }: AwaitedPlace, jobId: string): string {
  const whose = owner === jobId ? "" : ` of ${owner}`;
  return `a signal after ${after} on ${channel}${partition === 0 ? "" : `, partition ${partition}`}${whose}`;
}

export function historyText(events: readonly JobEvent[], paint: Paint): string {
  const rows = events.map((event, index) => [
    String(event.revision),
    event.at === undefined ? "" : new Date(timestampMs(event.at)).toISOString(),
    sinceText(events[index - 1]?.at, event.at),
    eventWord(event.type),
    paintedState(event.state, paint),
    String(event.attempt),
    event.reason,
  ]);
  return formatTable(["REVISION", "AT", "AFTER", "EVENT", "STATE", "ATTEMPT", "REASON"], rows, paint);
}

export function notesText(notes: readonly JobNote[], isTruncated: boolean, paint: Paint): string {
  if (notes.length === 0) {
    return paint.faint("no notes");
  }
  const rows = notes.map((note) => [
    note.signals > 1 ? `${note.number - BigInt(note.signals) + 1n}-${note.number}` : String(note.number),
    note.at === undefined ? "" : new Date(timestampMs(note.at)).toISOString(),
    noteWord(note.type),
    note.name,
    String(note.bytes),
  ]);
  const table = formatTable(["NOTE", "AT", "WHAT", "NAME", "BYTES"], rows, paint);
  return isTruncated ? `${table}\n${paint.faint("older notes are not kept")}` : table;
}

/** One line for a followed job's event. */
export function eventText(event: JobEvent, paint: Paint): string {
  const at = event.at === undefined ? "" : new Date(timestampMs(event.at)).toISOString().slice(11, 23);
  const attempt = event.attempt === 0 ? "" : `attempt ${event.attempt}`;
  return [
    paint.faint(at),
    event.jobId,
    paintedState(event.state, paint),
    eventWord(event.type),
    attempt,
    event.reason,
  ]
    .filter((part) => part !== "")
    .join("  ");
}

export function paintedState(state: JobState, paint: Paint): string {
  const word = stateWord(state);
  switch (state) {
    case JobState.SUCCEEDED:
      return paint.good(word);
    case JobState.DEAD:
      return paint.bad(word);
    case JobState.CANCELLED:
    case JobState.PARKED:
      return paint.warn(word);
    default:
      return word;
  }
}

function outcomeText({ outcome }: Outcome): string {
  switch (outcome.case) {
    case "success":
      return `success ${contentText(outcome.value.result, outcome.value.contentType) ?? "(no result)"}`;
    case "failure":
      return `${outcome.value.permanent ? "permanent failure" : "failure"} ${outcome.value.code}: ${outcome.value.message}`;
    case "cancelled":
      return `cancelled: ${outcome.value.reason || "no reason given"}`;
    case undefined:
      return "none";
  }
}

/** What is worth knowing in a list: why it failed, how far it is, what it waits for. */
function jobNote(job: Job, nowMs: number): string {
  const outcome = job.outcome?.outcome;
  if (outcome?.case === "failure") {
    return `${outcome.value.code}: ${firstLine(outcome.value.message)}`;
  }
  if (outcome?.case === "cancelled") {
    return firstLine(outcome.value.reason);
  }
  if (job.state === JobState.LEASED && job.progress !== undefined) {
    return `${Math.round(job.progress.percent)} % ${firstLine(job.progress.message)}`;
  }
  return job.state === JobState.SCHEDULED && job.runAt !== undefined ? relative(job.runAt, nowMs) : "";
}

function firstLine(text: string): string {
  const line = text.split("\n", 1)[0] ?? "";
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

/** Content for people: readable where it is text, else its size; undefined when there is none. */
export function contentText(bytes: Uint8Array, contentType: string): string | undefined {
  if (bytes.byteLength === 0) {
    return undefined;
  }
  const value = readable(bytes, contentType);
  if (value === undefined) {
    return `${bytes.byteLength} bytes of ${contentType || "application/octet-stream"}`;
  }
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > SHOWN_CHARACTERS_MAX
    ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}… (${bytes.byteLength} bytes)`
    : text;
}

/** What brought a job about, or back, beside its submitter; undefined: nothing. */
export function causesText(causes: readonly JobCause[], nowMs: number): string | undefined {
  const words = causes.map(({ cause }) => {
    switch (cause.case) {
      case "replay": {
        const { jobId, replayId } = cause.value;
        return `replay of ${jobId} (${replayId})`;
      }
      case "compensation":
        return `undoes ${cause.value.jobId}`;
      case "retry": {
        const { at, reason } = cause.value;
        return ["retried by an operator", relative(at, nowMs), reason && `(${reason})`]
          .filter(Boolean)
          .join(" ");
      }
      default:
        return "a cause that this version does not know";
    }
  });
  return words.length === 0 ? undefined : words.join("; ");
}

function labelsText(job: Job): string | undefined {
  const labels = Object.entries(job.labels).map(([key, value]) => `${key}=${value}`);
  return labels.length === 0 ? undefined : labels.join(", ");
}

function sinceText(from: Timestamp | undefined, to: Timestamp | undefined): string {
  return from === undefined || to === undefined
    ? ""
    : `+${formatElapsed(timestampMs(to) - timestampMs(from))}`;
}

export function relative(at: Timestamp | undefined, nowMs: number): string {
  return at === undefined ? "" : formatRelative(timestampMs(at), nowMs);
}

export function time(at: Timestamp | undefined, nowMs: number): string | undefined {
  return at === undefined ? undefined : formatTime(timestampMs(at), nowMs);
}
