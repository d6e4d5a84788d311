// Takes a seat from a job for a critical one (docs/adr/0033). The victim is found among those that sit on the seats, in
// the order of their scores: the backlog is not looked at.
import { Priority } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { EndedLease } from "../domain/lease.js";
import { takeDue } from "./fire-timers.js";
import type { BatchStatement } from "./group-commit.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import { isByKey, linkHistory, numberArray, retryLane, toMs, writePage } from "./sql-text.js";

export interface PreemptItem {
  readonly seatsMeterId: number;
  readonly seatsMax: number;
  /** The critical job, which is parked at the seats. */
  readonly jobId: string;
  /** What the session could do that would have got it. */
  readonly laneIds: readonly number[];
  readonly graceMs: number;
}

export interface Preempted {
  /** The lease that ends, or ends with the grace. */
  readonly lease: EndedLease;
  /** Set when it has ended at once. */
  readonly ref: Ref | null;
  /** When the grace ends; null without one. */
  readonly dueAtMs: number | null;
}

/** How long a free seat, after the grace if there is one, is kept for critical jobs. */
export const promiseMs = 10_000;

/** Seats of meter m that are kept: a promise that lapsed is none. */
export const promisedNow = "case when m.promised_until > now() then m.promised else 0 end";

/**
 * A preempted job is ready again, with its checkpoint; the attempt does not count, but it may have done something: like
 * that of a job that went on to wait (wait-for-signals.ts), it is marked.
 */
const giveUpSeat = `
      state = ${JobState.Ready}, attempt = j.attempt - 1, has_waited = true, fencing_token = j.fencing_token + 1,
      session_id = null, delivery = null, lane_id = ${retryLane}, ${linkHistory}`;

const preemptText = `
with victim as materialized (
  select h.job_id, h.fencing_token, j.session_id
  from seat h join job j on ${isByKey("j.id", "h.job_id")}
  where h.seats_meter_id = $3 and h.priority < ${Priority.Critical} and h.lane_id = any($4::integer[])
    and not h.is_preempted and j.state = ${JobState.Leased} and j.fencing_token = h.fencing_token
    and j.cancel_by is null
    and exists (select from parked p where p.job_id = $5 and p.gate_id = $3)
    and (select l.jobs from meter_level l where l.meter_id = $3) >= $6
  order by h.score, h.job_id limit 1
  for update of j skip locked
), marked as (
  update seat h set is_preempted = true from victim v
  where ${isByKey("h.job_id", "v.job_id")} and h.fencing_token = v.fencing_token and $7::float8 > 0
  returning h.job_id, h.fencing_token, now() + $7::float8 * interval '1 ms' as due_at
), timers as (
  insert into timer (purpose, due_at, job_id, guard) select 6, due_at, job_id, fencing_token from marked
), ousted as (
  update job j set ${giveUpSeat}, ready_key = $8
  from victim v where ${isByKey("j.id", "v.job_id")} and $7::float8 = 0
  returning j.*, ${JobEventType.Preempted}::smallint as event, v.session_id as event_session, $5::uuid::text as reason
), promise as (
  update meter m set promised = ${promisedNow} + 1,
    promised_until = now() + ($7::float8 + ${promiseMs}) * interval '1 ms'
  from victim where m.meter_id = $3
), ${writePage("ousted")}
select v.job_id, v.session_id, v.fencing_token, ${toMs("m.due_at")} as due_at_ms, o.*
from victim v left join marked m on true left join (select ${refColumns} from ousted) o on true`;

interface PreemptRow extends RefRow {
  readonly job_id: string;
  readonly session_id: string;
  readonly fencing_token: string;
  readonly due_at_ms: number | null;
}

/** Finds the lowest-scoring job of lower priority on the seats that the session could do, and ends its lease; or null. */
export const preempt: BatchStatement<PreemptItem, Preempted | null> = {
  name: "preempt",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: (item) => 64 + 4 * item.laneIds.length,
  run: async (on, [item]) => {
    const { seatsMeterId, laneIds, jobId, seatsMax, graceMs } = item as PreemptItem;
    const { rows } = await on.connection.query<PreemptRow>({
      name: "preempt",
      text: preemptText,
      values: [
        on.writerId,
        on.batch,
        seatsMeterId,
        numberArray(laneIds),
        jobId,
        seatsMax,
        graceMs,
        on.reserveReadyKeys(1),
      ],
    });
    const [row] = rows;
    if (!row) return { results: [null], wrotePage: false };
    const lease = {
      jobId: row.job_id,
      sessionId: row.session_id,
      fencingToken: BigInt(row.fencing_token),
    };
    const ref = row.id === null ? null : toRef(row);
    return { results: [{ lease, ref, dueAtMs: row.due_at_ms }], wrotePage: ref !== null };
  },
};

const fireText = `
with ${takeDue(6, "$3")}, before as (
  select j.id, j.session_id, j.fencing_token, row_number() over (order by d.due_at, j.id) as place
  from due d join job j on ${isByKey("j.id", "d.job_id")}
  where j.state = ${JobState.Leased} and j.fencing_token = d.guard and j.cancel_by is null
), ousted as (
  update job j set ${giveUpSeat}, ready_key = $4::bigint + b.place
  from before b
  where ${isByKey("j.id", "b.id")} and j.state = ${JobState.Leased} and j.fencing_token = b.fencing_token
  returning j.*, ${JobEventType.Preempted}::smallint as event, b.session_id as event_session,
    b.fencing_token as token_before, 'GRACE_OVER'::text as reason
), ${writePage("ousted")}
select (select count(*)::integer from due) as taken, event_session, token_before, ${refColumns}
from (select count(*) from due) d left join ousted on true`;

export interface FiredGraces {
  readonly ended: readonly { readonly lease: EndedLease; readonly ref: Ref }[];
  /** Timers taken; as many as the limit means that more may be due. */
  readonly taken: number;
}

/** Preempted leases whose grace is over end, whatever their workers do (D4). */
export const firePreemptGraces: BatchStatement<number, FiredGraces> = {
  name: "fire_preempt_graces",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, [limit = 0]) => {
    const { rows } = await on.connection.query<
      RefRow & { taken: number; event_session: string; token_before: string }
    >({
      name: "fire_preempt_graces",
      text: fireText,
      values: [on.writerId, on.batch, limit, on.reserveReadyKeys(limit) - 1],
    });
    const ended = rows
      .filter((row) => row.id !== null)
      .map((row) => ({
        lease: { jobId: row.id, sessionId: row.event_session, fencingToken: BigInt(row.token_before) },
        ref: toRef(row),
      }));
    return { results: [{ ended, taken: rows[0]?.taken ?? 0 }], wrotePage: ended.length > 0 };
  },
};
