import type pg from "pg";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { Operator } from "../domain/operation.js";
import { lockRuns } from "./advance-runs.js";
import { distinctItems, tenantJobKey } from "./distinct-items.js";
import type { BatchStatement } from "./group-commit.js";
import { recordOperations } from "./operations.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import {
  isByKey,
  isByKeyOf,
  linkHistory,
  numberArray,
  retryLane,
  rowsByKey,
  toMs,
  writePage,
} from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface ReviveItem extends Operator {
  readonly jobId: string;
}

export type ReviveResult =
  /** Without a ref when an earlier try had done it already: its lane finds the job in the ledger. */
  | { readonly type: "revived"; readonly ref: Ref | null }
  /** Another job has its unique key by now. */
  | { readonly type: "key_held"; readonly heldBy: string }
  | { readonly type: "not_dead"; readonly state: JobState }
  | { readonly type: "not_found" };

// A job with a unique key is open again only if no other job that has the key is: the rules of submit-unique-jobs.ts.
// A deadline that has passed would end the job again at once, so reviving drops it.
const reviveText = `
with input as (
  select * from unnest($3::uuid[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::bigint[])
    as i (id, tenant_id, subject, reason, ticket, ready_key)
), locked as (
  select j.id, u.tenant_id, u.key, u.job_id, u.turn
  from input i join job j on ${isByKey("j.id", "i.id")} and j.tenant_id = i.tenant_id and j.state = ${JobState.Dead}
  join unique_key u on ${isByKey("u.tenant_id", "j.tenant_id")} and ${isByKey("u.key", "j.options #>> '{unique,key}'")}
  order by j.tenant_id, (j.options #>> '{unique,key}') collate "C" for update of u
), barred as (
  select l.id
  from (select *, row_number() over (partition by tenant_id, key order by id) as n from locked) l
  join unique_key s on ${isByKeyOf("s", "l", "tenant_id", "key")}
  left join job h on ${isByKey("h.id", "l.job_id")}
  where case when s.turn <> l.turn then try_again() is not null
    else l.n > 1 or (l.job_id <> l.id and h.state < ${JobState.Succeeded}) end
), revived as (
  update job j set
      state = ${JobState.Ready}, attempt = 0, has_waited = null, fencing_token = j.fencing_token + 1, finished_at = null,
      deadline = case when j.deadline > now() then j.deadline end, run_at = null, ready_at = now(),
      lane_id = ${retryLane}, ready_key = i.ready_key,
      options = coalesce(j.options, '{}')
        || jsonb_build_object('retried', jsonb_build_object('atMs', floor(${toMs("now()")}), 'reason', i.reason)),
      ${linkHistory}
  from input i
  cross join lateral (select attempt as attempts from job b where ${isByKey("b.id", "i.id")} offset 0) b
  where ${isByKey("j.id", "i.id")} and j.tenant_id = i.tenant_id and j.state = ${JobState.Dead}
    and j.id not in (select id from barred)
  returning j.*, ${JobEventType.Revived}::smallint as event, null::uuid as event_session, nullif(i.reason, '') as reason,
    i.subject, i.ticket, b.attempts
), taken as (
  update unique_key u set job_id = r.id, turn = u.turn + 1
  from revived r where ${isByKey("u.tenant_id", "r.tenant_id")} and ${isByKey("u.key", "r.options #>> '{unique,key}'")}
), changed as (
  select tenant_id as operation_tenant, 'dead_letter.retry' as action, 'job:' || id as target,
    jsonb_strip_nulls(jsonb_build_object('state', 'dead', 'attempts', attempts, 'failureCode', outcome ->> 'code'))
      as before,
    jsonb_build_object('state', 'ready', 'fencingToken', fencing_token) as after,
    subject, coalesce(reason, '') as reason, ticket
  from revived
), ${recordOperations("changed")}, ${writePage("revived")}
select tenant_id, ${refColumns} from revived`;

// Locks and looks as in advance-runs.ts: a job may have joined a run since the lock. Whoever waits for the job, or waited
// when it died, counts it among what is open; those that wait no more are not concerned.
const reopenText = `
with reopened as materialized (
  select n.job_id, n.run_id, n.is_child
  from unnest($1::uuid[]) as i (id) cross join ${rowsByKey("run_node", "job_id", "i.id")} n
  join job j on ${isByKey("j.id", "n.job_id")}
  where n.ended_as = ${JobState.Dead} and j.state = ${JobState.Ready} and j.page_writer = $2 and j.page_batch = $3
), counts as (
  select run_id, job_id, sum(more)::integer as more, bool_or(is_open) as is_open from (
    select r.run_id, e.dependent_id as job_id, 1 as more, false as is_open
    from reopened r cross join ${rowsByKey("run_edge", "job_id", "r.job_id")} e
    union all select run_id, run_id, 1, false from reopened where is_child
    union all select run_id, job_id, 0, true from reopened) c
  group by run_id, job_id
), counted as (
  update run_node n set waits_for = n.waits_for + c.more, ended_as = case when not c.is_open then n.ended_as end
  from counts c where ${isByKeyOf("n", "c", "run_id", "job_id")}
)
update run r set children_failed = r.children_failed - c.failed
from (select run_id, count(*)::integer as failed from reopened where is_child group by run_id) c
where ${isByKey("r.run_id", "c.run_id")}`;

/** What was revived this long ago may have been by an earlier try. */
const retryMs = 60_000;

const refusedText = `
select j.id, j.tenant_id, j.state, u.job_id as held_by,
  case when (j.options #>> '{retried,atMs}')::float8 > ${toMs("now()")} - ${retryMs}
    then j.options #>> '{retried,reason}' end as revived_for
from job j left join unique_key u on ${isByKey("u.tenant_id", "j.tenant_id")}
  and ${isByKey("u.key", "j.options #>> '{unique,key}'")} and u.job_id <> j.id
where j.id = any($1)`;

/** Sends dead letters back to ready with a fresh count of attempts, and opens their places in runs again. */
export const reviveJobs: BatchStatement<ReviveItem, ReviveResult> = {
  name: "revive_jobs",
  itemsMax: 200,
  bytesMax: 1 << 20,
  bytesOf: (item) => 64 + item.subject.length + item.reason.length + item.ticket.length,
  run: async (on, items) => {
    const distinct = [...distinctItems(items, tenantJobKey).values()];
    const ids = distinct.map((item) => item.jobId);
    const firstKey = on.reserveReadyKeys(distinct.length);
    const lock = lockRuns(ids);
    const [, revived] = await on.connection.together([
      lock,
      {
        name: "revive_jobs",
        text: reviveText,
        values: [
          on.writerId,
          on.batch,
          uuidArray(ids),
          numberArray(distinct.map((item) => item.tenantId)),
          distinct.map((item) => item.subject),
          distinct.map((item) => item.reason),
          distinct.map((item) => item.ticket),
          numberArray(distinct.map((_, at) => firstKey + at)),
        ],
      },
      lock,
      { name: "reopen_nodes", text: reopenText, values: [uuidArray(ids), on.writerId, on.batch] },
    ]);
    const { rows } = revived as pg.QueryResult<RefRow & { tenant_id: number }>;
    const refs = new Map(
      rows.map((row) => [tenantJobKey({ jobId: row.id, tenantId: row.tenant_id }), toRef(row)]),
    );
    const states =
      refs.size === items.length
        ? []
        : (
            await on.connection.query<{
              id: string;
              tenant_id: number;
              state: JobState;
              held_by: string | null;
              revived_for: string | null;
            }>({
              name: "judge_revivals",
              text: refusedText,
              values: [uuidArray(ids)],
            })
          ).rows;
    const results = items.map((item): ReviveResult => {
      const ref = refs.get(tenantJobKey(item));
      if (ref && distinct.includes(item)) return { type: "revived", ref };
      const row = states.find((row) => row.id === item.jobId && row.tenant_id === item.tenantId);
      const isOurs = on.isRetry && row?.revived_for === item.reason;
      if (row && isOurs && row.state < JobState.Succeeded) return { type: "revived", ref: null };
      if (row?.state === JobState.Dead && row.held_by !== null)
        return { type: "key_held", heldBy: row.held_by };
      return row ? { type: "not_dead", state: row.state } : { type: "not_found" };
    });
    return { results, wrotePage: rows.length > 0 };
  },
};
