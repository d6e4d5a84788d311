// What a schedule does when it is looked at: which of its times make jobs, which wait, which pass. Pure: whoever looks
// brings the time and what the ledger says, and writes the answer only if the schedule is as it was.
import { createHash } from "node:crypto";
import { type Cadence, type CadenceBounds, type Times, timesOf } from "./cadence.js";
import { instant } from "./instant.js";
import type { EventWindow, JobOptions } from "./job-spec.js";
import { type JobTemplate, windowLabels } from "./job-template.js";

/** What becomes of a time when the newest job has not ended. The numbers are stored and sent. */
export const OverlapPolicy = { Skip: 1, Allow: 2, QueueOne: 3, Replace: 4 } as const;
export type OverlapPolicy = (typeof OverlapPolicy)[keyof typeof OverlapPolicy];

/** What becomes of times that were missed. The numbers are stored and sent. */
export const CatchUpPolicy = { Skip: 1, Last: 2, All: 3 } as const;
export type CatchUpPolicy = (typeof CatchUpPolicy)[keyof typeof CatchUpPolicy];

export interface ScheduleSpec extends CadenceBounds {
  readonly cadence: Cadence;
  readonly job: JobTemplate;
  readonly overlap: OverlapPolicy;
  readonly replaceGraceMs: number;
  readonly catchUp: CatchUpPolicy;
  readonly catchUpWindowMs: number;
  readonly jitterMs: number;
  /** Whose event time its jobs are work for; empty for none. */
  readonly eventSource: string;
}

/** A time of a schedule, and the one before it: where its window begins. */
export interface Due {
  readonly atMs: number;
  readonly priorMs: number | null;
}

/** Where a schedule stands. */
export interface ScheduleState {
  /** Null: there is none left. */
  readonly next: Due | null;
  /** A time that waits for the end of the newest job. */
  readonly waiting: Due | null;
  /** The newest job has not ended. */
  readonly isOpen: boolean;
}

export interface Firing {
  /** What makes jobs, in order. */
  readonly fire: readonly Due[];
  readonly waiting: Due | null;
  readonly next: Due | null;
  /** Times that the overlap policy let pass. */
  readonly skipped: number;
  /** Times that were missed and passed. */
  readonly missed: number;
  /** Others tried and wanted to run: the newest job is to be cancelled. */
  readonly isReplacing: boolean;
}

/** A time that is fired so late is still in time: hubs take that long to restart. */
export const inTimeMs = 60_000;
/** Jobs of one look; what is left is due at the next. */
const firedPerLookMax = 100;
const missedCountedMax = 1_000;

export function decideFiring(spec: ScheduleSpec, state: ScheduleState, nowMs: number): Firing {
  const { dues, next, missed } = dueTimes(spec, state.next, nowMs);
  return { ...overlapped(spec.overlap, state, dues), next, missed };
}

/** The same for one time that is none of the cadence. */
export function decideTrigger(spec: ScheduleSpec, state: ScheduleState, nowMs: number): Firing {
  const due = { atMs: nowMs, priorMs: null };
  return { ...overlapped(spec.overlap, state, [due]), next: state.next, missed: 0 };
}

/** The first time after this one. */
export function nextDue(times: Times, afterMs: number): Due | null {
  const atMs = times.after(afterMs);
  return atMs === null ? null : { atMs, priorMs: times.before(atMs) };
}

function overlapped(overlap: OverlapPolicy, state: ScheduleState, dues: readonly Due[]) {
  const fire: Due[] = [];
  let { waiting, isOpen } = state;
  let skipped = 0;
  const start = (due: Due) => {
    fire.push(due);
    isOpen = true;
  };
  if (waiting && (!isOpen || overlap === OverlapPolicy.Allow)) {
    start(waiting);
    waiting = null;
  }
  for (const due of dues) {
    if (!isOpen || overlap === OverlapPolicy.Allow) start(due);
    else if (overlap === OverlapPolicy.Skip) skipped += 1;
    else if (waiting === null) waiting = due;
    else {
      skipped += 1;
      if (overlap === OverlapPolicy.Replace) waiting = due;
    }
  }
  return { fire, waiting, skipped, isReplacing: overlap === OverlapPolicy.Replace && waiting !== null };
}

/** The times up to now that are to be fired, by what is missed and how that is caught up. */
function dueTimes(spec: ScheduleSpec, first: Due | null, nowMs: number) {
  if (first === null || first.atMs > nowMs) return { dues: [], next: first, missed: 0 };
  const times = timesOf(spec.cadence, spec);
  const keptMs = spec.catchUp === CatchUpPolicy.Skip ? inTimeMs : spec.catchUpWindowMs;
  const wantedFromMs = nowMs - (spec.catchUp === CatchUpPolicy.All ? keptMs : inTimeMs);
  const wanted = walk(times, first, wantedFromMs, nowMs);
  if (wanted.dues.length > 0) return { ...wanted, missed: countMissed(times, first, wantedFromMs) };
  const newestMs = times.before(nowMs + 1);
  const isKept =
    spec.catchUp === CatchUpPolicy.Last &&
    newestMs !== null &&
    newestMs >= Math.max(first.atMs, nowMs - keptMs);
  const missed = countMissed(times, first, nowMs + 1);
  return isKept
    ? { dues: [{ atMs: newestMs, priorMs: times.before(newestMs) }], next: wanted.next, missed: missed - 1 }
    : { dues: [], next: wanted.next, missed };
}

/** Times from one to another, and the one that follows those that are taken. */
function walk(times: Times, first: Due, fromMs: number, throughMs: number) {
  const dues: Due[] = [];
  let next = first.atMs >= fromMs ? first : nextDue(times, fromMs - 1);
  while (next && next.atMs <= throughMs && dues.length < firedPerLookMax) {
    dues.push(next);
    const atMs = times.after(next.atMs);
    next = atMs === null ? null : { atMs, priorMs: next.atMs };
  }
  return { dues, next };
}

function countMissed(times: Times, first: Due, beforeMs: number): number {
  let count = 0;
  for (let at: number | null = first.atMs; at !== null && at < beforeMs; at = times.after(at)) {
    count += 1;
    if (count === missedCountedMax) break;
  }
  return count;
}

/** What makes one job of a schedule differ from the next. */
export interface ScheduledJob {
  readonly idempotencyKey: string;
  /** Null: at once. */
  readonly runAtMs: number | null;
  readonly options: JobOptions;
}

/** The job of one time. The same, key included, whoever makes it. */
export function scheduledJob(
  schedule: { readonly scheduleId: string; readonly name: string; readonly spec: ScheduleSpec },
  due: Due,
  isTriggered: boolean,
): ScheduledJob {
  const { job, jitterMs, eventSource } = schedule.spec;
  const scheduledFor = instant(due.atMs).toISOString();
  // Whoever triggers twice wants two jobs.
  const idempotencyKey = isTriggered ? "" : `schedule/${schedule.scheduleId}/${scheduledFor}`;
  const window: EventWindow | null =
    eventSource !== "" && due.priorMs !== null
      ? { source: eventSource, fromMs: due.priorMs, toMs: due.atMs }
      : null;
  return {
    idempotencyKey,
    runAtMs: jitterMs > 0 && !isTriggered ? due.atMs + jitterOf(idempotencyKey, jitterMs) : null,
    options: {
      ...job.options,
      ...(idempotencyKey !== "" && { idempotencyKey }),
      labels: {
        ...job.options.labels,
        schedule: schedule.name,
        scheduled_for: scheduledFor,
        ...(window && windowLabels(window)),
      },
      ...(window && { window }),
    },
  };
}

/** From 0 to the bound, the same for the same key. */
function jitterOf(key: string, jitterMs: number): number {
  return createHash("sha256").update(key).digest().readUIntBE(0, 6) % (jitterMs + 1);
}

/** A schedule, as it is now. */
export interface ScheduleView {
  readonly scheduleId: string;
  readonly name: string;
  readonly spec: ScheduleSpec;
  readonly payloadBytes: number;
  readonly revision: number;
  readonly pausedAtMs: number | null;
  readonly pauseReason: string;
  readonly next: Due | null;
  readonly waiting: Due | null;
  readonly lastAtMs: number | null;
  readonly lastJobId: string | null;
  /** Null while it waits in the inbox, and once it is no longer kept. */
  readonly lastJobState: number | null;
  /** The newest job waits in the inbox or has not ended. */
  readonly isOpen: boolean;
  /** The newest job is being cancelled. */
  readonly isCancelling: boolean;
  readonly fired: number;
  readonly skipped: number;
  readonly missed: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}
