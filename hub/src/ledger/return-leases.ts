import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import { endJobs, lockRuns } from "./advance-runs.js";
import { distinctItems, inJobOrder, type LeaseRow, leaseKey, leaseRowKey } from "./distinct-items.js";
import type { BatchStatement } from "./group-commit.js";
import { heldSessions } from "./held-sessions.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import {
  booleanArray,
  isByKey,
  linkHistory,
  numberArray,
  retryLane,
  rowsByKey,
  writePage,
} from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface ReturnItem {
  readonly jobId: string;
  readonly sessionId: string;
  /** The lease's token; null for whatever lease the session has on the job. */
  readonly fencingToken: bigint | null;
  /** Only a lease that went into this delivery. A session may get a job more than once. */
  readonly delivery?: number;
  readonly event: typeof JobEventType.Released | typeof JobEventType.Expired;
  /** False when no handler can have started: the attempt does not count then (D6). */
  readonly isStarted: boolean;
  /** Only as long as this hub holds the session; otherwise the hub that does decides. */
  readonly mustHoldSession?: boolean;
}

export type ReturnResult =
  | { readonly type: "ready"; readonly ref: Ref }
  /** It was being cancelled, or had no attempt left. */
  | { readonly type: "ended"; readonly state: JobState }
  | { readonly type: "stale" };

const lostOutcome = JSON.stringify({
  type: "failure",
  code: "WORKER_LOST",
  message: "The worker was lost during the last attempt allowed.",
  permanent: true,
  retryAfterMs: 0,
});

const attemptLeft = "j.attempt - case when i.is_started then 0 else 1 end";
const stateLeft = `returned_state(j.cancel_by is not null, ${attemptLeft}, j.attempts_max)`;

const returnText = `
with input as (
  select i.id, i.session_id, i.fencing_token, i.delivery, i.ready_key, i.must_hold,
    case when h.job_id is null then i.event else ${JobEventType.Preempted} end as event,
    i.is_started and h.job_id is null as is_started, i.is_started and h.job_id is not null as has_begun
  from unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::smallint[], $7::boolean[], $8::bigint[], $9::boolean[],
    $11::bigint[]) as i (id, session_id, fencing_token, event, is_started, ready_key, must_hold, delivery)
  left join ${rowsByKey("seat", "job_id", "i.id")} h on h.is_preempted
), ${heldSessions("$10")}, returned as (
  update job j set
      state = ${stateLeft},
      finished_at = case when ${stateLeft} <> ${JobState.Ready} then now() end,
      outcome = case when ${stateLeft} = ${JobState.Dead} then '${lostOutcome}'::jsonb else j.outcome end,
      attempt = ${attemptLeft}, has_waited = coalesce(j.has_waited, nullif(i.has_begun, false)),
      fencing_token = j.fencing_token + 1, session_id = null, delivery = null,
      cancel_by = null, lane_id = ${retryLane}, ready_key = i.ready_key, ${linkHistory}
  from input i
  where ${isByKey("j.id", "i.id")} and j.session_id = i.session_id and j.state = ${JobState.Leased}
    and (i.fencing_token is null or j.fencing_token = i.fencing_token)
    and (i.delivery is null or j.delivery = i.delivery)
    and (not i.must_hold or i.session_id in (select session_id from held))
  returning j.*, case j.state when ${JobState.Ready} then i.event when ${JobState.Dead} then ${JobEventType.Dead}
    else ${JobEventType.Cancelled} end::smallint as event, i.session_id as event_session,
    i.fencing_token as asked_token, i.delivery as asked_delivery, case j.state when ${JobState.Dead} then 'WORKER_LOST' end as reason
), ${writePage("returned")}
select state, event_session as session_id, asked_token as fencing_token, asked_delivery as delivery, ${refColumns}
from returned`;

type ReturnedRow = RefRow & LeaseRow & { readonly state: JobState; readonly delivery: string | null };

const itemKey = (item: ReturnItem) => `${leaseKey(item)}/${item.delivery ?? null}`;
const rowKey = (row: ReturnedRow) => `${leaseRowKey(row)}/${row.delivery}`;

/**
 * Takes leases back from a session: ready again with their checkpoints, in the retry lane. The attempt of a lease that is
 * being preempted does not count, but is marked when a handler may have started (preempt.ts).
 */
export const returnLeases: BatchStatement<ReturnItem, ReturnResult> = {
  name: "return_leases",
  itemsMax: 512,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    const distinct = inJobOrder(distinctItems(items, itemKey).values());
    const ids = distinct.map((item) => item.jobId);
    const firstKey = on.reserveReadyKeys(distinct.length);
    const { rows, advanced } = await endJobs<ReturnedRow>(on, lockRuns(ids), {
      name: "return_leases",
      text: returnText,
      values: [
        on.writerId,
        on.batch,
        uuidArray(ids),
        uuidArray(distinct.map((item) => item.sessionId)),
        numberArray(distinct.map((item) => item.fencingToken)),
        numberArray(distinct.map((item) => item.event)),
        booleanArray(distinct.map((item) => item.isStarted)),
        numberArray(distinct.map((_, at) => firstKey + at)),
        booleanArray(distinct.map((item) => item.mustHoldSession === true)),
        uuidArray([...new Set(distinct.flatMap((item) => (item.mustHoldSession ? [item.sessionId] : [])))]),
        numberArray(distinct.map((item) => item.delivery ?? null)),
      ],
    });
    const byLease = new Map(rows.map((row) => [rowKey(row), row]));
    const results = new Map(
      distinct.map((item): [ReturnItem, ReturnResult] => {
        const row = byLease.get(itemKey(item));
        if (!row) return [item, { type: "stale" }];
        if (row.state === JobState.Ready) return [item, { type: "ready", ref: toRef(row) }];
        return [item, { type: "ended", state: row.state }];
      }),
    );
    return {
      results: items.map((item) => results.get(item) ?? { type: "stale" }),
      wrotePage: rows.length > 0,
      advanced,
    };
  },
};
