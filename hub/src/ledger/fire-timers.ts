import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { EndedLease } from "../domain/lease.js";
import { endJobs } from "./advance-runs.js";
import type { BatchStatement } from "./group-commit.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import { isByKey, isByKeyOf, linkHistory, retryLane, rowsByKey, writePage } from "./sql-text.js";

/** How many timers to fire at most. */
export type FireLimit = number;

/** By the column `purpose` of `timer`, less 1. */
const purposes = [
  "ready",
  "deadline",
  "cancelGrace",
  "startDeadline",
  "waitTimeout",
  "preemptGrace",
] as const;
export type TimerPurpose = (typeof purposes)[number];

/**
 * Which timers are due: one look instead of a statement or transaction for each purpose, behind which everybody else on this
 * connection waits. On this one, because deadlines must not wait for readers.
 */
export const readDueTimers: BatchStatement<null, readonly TimerPurpose[]> = {
  name: "read_due_timers",
  itemsMax: 1_000,
  bytesMax: 1 << 20,
  bytesOf: () => 16,
  run: async (on, items) => {
    const { rows } = await on.connection.query<{ purpose: number }>({
      name: "read_due_timers",
      text: `select p.purpose from generate_series(1, ${purposes.length}) p (purpose)
        where exists (select from timer t where t.purpose = p.purpose::smallint and t.due_at <= now()) order by p.purpose`,
    });
    const due = rows.map(({ purpose }) => purposes[purpose - 1] as TimerPurpose);
    return { results: items.map(() => due), wrotePage: false };
  },
};

// Due timers are taken whoever wrote them; skip locked lets hubs share them.
export const takeDue = (purpose: number, limit: string) => `
found as materialized (
  select purpose, due_at, job_id from timer where purpose = ${purpose} and due_at <= now()
  order by due_at, job_id limit ${limit} for update skip locked
), due as (
  delete from timer t using found f
  where ${isByKeyOf("t", "f", "purpose", "due_at", "job_id")}
  returning t.due_at, t.job_id, t.guard
)`;

// Jobs get their places in their lane in the order in which they fell due.
const fireReadyText = `
with ${takeDue(1, "$3")}, numbered as (
  select job_id, guard, $4::bigint + row_number() over (order by due_at, job_id) as ready_key from due
), readied as (
  update job j set
      state = ${JobState.Ready}, ready_at = now(), ready_key = n.ready_key,
      lane_id = case when j.attempt = 0 then j.lane_id else ${retryLane} end, ${linkHistory}
  from numbered n
  where ${isByKey("j.id", "n.job_id")} and j.state = ${JobState.Scheduled} and j.revision = n.guard
  returning j.*, ${JobEventType.Ready}::smallint as event, null::uuid as event_session, null::text as reason
), ${writePage("readied")}
select (select count(*)::integer from due) as taken, ${refColumns}
from (select count(*) from due) d left join readied on true
order by ready_key`;

/** Code of the failure of a job whose deadline passed. */
export const deadlineCode = "DEADLINE_EXCEEDED";

const deadlineOutcome = (message: string) =>
  JSON.stringify({ type: "failure", code: deadlineCode, message, permanent: true, retryAfterMs: 0 });

const endLease = (state: number, event: number, outcome: string, reason: string) => `
      state = ${state}, finished_at = now(), fencing_token = j.fencing_token + 1, session_id = null,
      delivery = null, cancel_by = null, outcome = ${outcome}, ${linkHistory}
  from before b
  where ${isByKey("j.id", "b.id")}
  returning j.*, b.session_id as event_session, b.fencing_token as token_before, ${event}::smallint as event,
    ${reason} as reason`;

const fireDeadlineText = (purpose: number, isOver: string, message: string) => `
with ${takeDue(purpose, "$3")}, before as (
  select j.id, j.session_id, j.fencing_token from due d join job j on ${isByKey("j.id", "d.job_id")}
  where ${isOver}
  for update of j
), ended as (
  update job j set ${endLease(JobState.Dead, JobEventType.Dead, `'${deadlineOutcome(message)}'::jsonb`, `'${deadlineCode}'`)}
), ${writePage("ended")}
select (select count(*)::integer from due) as taken, id, event_session, token_before
from (select count(*) from due) d left join ended on true`;

const fireDeadlinesText = fireDeadlineText(
  2,
  `j.state < ${JobState.Succeeded} and j.deadline <= now()`,
  "The deadline of the job passed.",
);

// A job that was revived, and has a fresh count of attempts, has started before.
const fireStartDeadlinesText = fireDeadlineText(
  4,
  `j.state < ${JobState.Leased} and j.attempt = 0 and j.started_at is null`,
  "The time to start of the job passed.",
);

const fireCancelsText = `
with ${takeDue(3, "$3")}, before as (
  select j.id, j.session_id, j.fencing_token, j.outcome from due d join job j on ${isByKey("j.id", "d.job_id")}
  where j.state = ${JobState.Leased} and j.cancel_by <= now() and j.fencing_token = d.guard
  for update of j
), ended as (
  update job j set ${endLease(JobState.Cancelled, JobEventType.Cancelled, "j.outcome", "nullif(j.outcome ->> 'reason', '')")}
), ${writePage("ended")}
select (select count(*)::integer from due) as taken, id, event_session, token_before
from (select count(*) from due) d left join ended on true`;

export interface FiredReady {
  readonly refs: readonly Ref[];
  /** Timers taken; as many as the limit means that more may be due. */
  readonly taken: number;
}

export interface FiredEnds {
  readonly endedJobIds: readonly string[];
  readonly leases: readonly EndedLease[];
  readonly taken: number;
}

/** Scheduled jobs whose time has come become ready. */
export const fireReadyTimers: BatchStatement<FireLimit, FiredReady> = {
  name: "fire_ready_timers",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, [limit = 0]) => {
    const { rows } = await on.connection.query<RefRow & { taken: number }>({
      name: "fire_ready_timers",
      text: fireReadyText,
      values: [on.writerId, on.batch, limit, on.reserveReadyKeys(limit) - 1],
    });
    const refs = rows.filter((row) => row.id !== null).map(toRef);
    return { results: [{ refs, taken: rows[0]?.taken ?? 0 }], wrotePage: refs.length > 0 };
  },
};

/** Locks the runs of jobs whose timers are due. */
const lockDueText = (purpose: number) => `
select r.run_id from (
  select distinct n.run_id from (
    select job_id from timer where purpose = ${purpose} and due_at <= now() order by due_at, job_id limit $1) t
  cross join ${rowsByKey("run_node", "job_id", "t.job_id")} n
) d join run r on ${isByKey("r.run_id", "d.run_id")} order by d.run_id for update of r`;

function endingTimers(name: string, purpose: number, text: string): BatchStatement<FireLimit, FiredEnds> {
  return {
    name,
    itemsMax: 1,
    bytesMax: 1 << 20,
    bytesOf: () => 64,
    run: async (on, [limit = 0]) => {
      const { rows, advanced } = await endJobs<{
        taken: number;
        id: string | null;
        event_session: string | null;
        token_before: string;
      }>(
        on,
        { name: `${name}_lock`, text: lockDueText(purpose), values: [limit] },
        { name, text, values: [on.writerId, on.batch, limit] },
      );
      const ended = rows.filter((row) => row.id !== null);
      const leases = ended
        .filter((row) => row.event_session !== null)
        .map((row) => ({
          jobId: row.id as string,
          sessionId: row.event_session as string,
          fencingToken: BigInt(row.token_before),
        }));
      return {
        results: [{ endedJobIds: ended.map((row) => row.id as string), leases, taken: rows[0]?.taken ?? 0 }],
        wrotePage: ended.length > 0,
        advanced,
      };
    },
  };
}

/** Open jobs whose deadline has passed are dead-lettered (D8). */
export const fireDeadlines = endingTimers("fire_deadlines", 2, fireDeadlinesText);

/** Jobs that were never granted by the time that they had to be are dead-lettered (D8). */
export const fireStartDeadlines = endingTimers("fire_start_deadlines", 4, fireStartDeadlinesText);

/** Leases whose grace after a cancel has passed are taken away. */
export const fireCancelGraces = endingTimers("fire_cancel_graces", 3, fireCancelsText);
