import type {
  CandidateSession,
  ExplainResponse,
  GateState,
  Grant,
  LanePosition,
  WaitedJob,
} from "@holdfast/gen/holdfast/v1/explain_pb";
import { JobEventType } from "@holdfast/gen/holdfast/v1/job_pb";
import { causesText, paintedState, time } from "./job-text.js";
import { eventWord, waitCauseWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { formatFields, formatTable } from "./table.js";

/** What keeps a job, who could take it, and where it ran. */
export function explainText(answer: ExplainResponse, nowMs: number, paint: Paint): string {
  const { job, reasons, position, candidates, sessions, grants, gates, waitsFor } = answer;
  const parts = [
    formatFields(
      [
        ["job", paint.strong(job?.id ?? "")],
        ["kind", job?.kind],
        ["state", job && paintedState(job.state, paint)],
        ["attempts", job && `${job.attempt}/${job.maxAttempts}`],
        ["cause", job && causesText(job.causes, nowMs)],
        ["position", position && positionText(position)],
      ],
      paint,
    ),
    formatTable(
      ["BECAUSE", "UNTIL", ""],
      reasons.map(({ cause, message, until }) => [waitCauseWord(cause), time(until, nowMs) ?? "", message]),
      paint,
    ),
  ];
  if (waitsFor.length > 0) parts.push(waitsForText(waitsFor, answer.waitsForTotal, paint));
  if (gates.length > 0) parts.push(gatesText(gates, nowMs, paint));
  if (candidates.length > 0) parts.push(candidatesText(candidates, sessions, paint));
  if (grants.length > 0) parts.push(grantsText(grants, nowMs, paint));
  return parts.join("\n\n");
}

function positionText({ jobsAhead, atLeast, lanesAhead, keysBeside }: LanePosition): string {
  const own =
    jobsAhead === 0 ? "first of its lane" : `behind ${jobsAhead}${atLeast ? "+" : ""} jobs of its lane`;
  const lanes = lanesAhead === 0 ? "" : `, and the heads of ${lanesAhead} other lanes`;
  return (
    own + lanes + (keysBeside === 0 ? "" : `; ${keysBeside} other fairness keys take turns with its own`)
  );
}

function waitsForText(jobs: readonly WaitedJob[], total: number, paint: Paint): string {
  const rows = jobs.map(({ jobId, kind, state, child }) => [
    jobId,
    kind,
    paintedState(state, paint),
    child ? "child" : "dependency",
  ]);
  const table = formatTable(["WAITS FOR", "KIND", "STATE", ""], rows, paint);
  return total > jobs.length ? `${table}\n${paint.faint(`${jobs.length} of ${total}`)}` : table;
}

function gatesText(gates: readonly GateState[], nowMs: number, paint: Paint): string {
  const rows = gates.map(({ type, target, shut, reason, until }) => [
    type,
    target,
    shut ? paint.bad("shut") : paint.good("open"),
    time(until, nowMs) ?? "",
    reason,
  ]);
  return formatTable(["GATE", "BEFORE", "STATE", "UNTIL", "REASON"], rows, paint);
}

function candidatesText(candidates: readonly CandidateSession[], sessions: number, paint: Paint): string {
  const rows = candidates.map(({ workerName, sessionId, writerId, mismatches }) => [
    workerName,
    sessionId,
    String(writerId),
    mismatches.length === 0 ? paint.good("could take it") : mismatches.join("; "),
  ]);
  const table = formatTable(["WORKER", "SESSION", "HUB", "FOR THIS JOB"], rows, paint);
  return sessions > candidates.length
    ? `${table}\n${paint.faint(`${candidates.length} of ${sessions} live sessions`)}`
    : table;
}

function grantsText(grants: readonly Grant[], nowMs: number, paint: Paint): string {
  const rows = grants.map(({ attempt, workerName, sessionId, grantedAt, endedAt, end, reason }) => [
    String(attempt),
    workerName || sessionId,
    time(grantedAt, nowMs) ?? "",
    time(endedAt, nowMs) ?? "",
    end === JobEventType.UNSPECIFIED ? "running" : eventWord(end),
    reason,
  ]);
  return formatTable(["ATTEMPT", "RAN ON", "FROM", "TO", "ENDED", "REASON"], rows, paint);
}
