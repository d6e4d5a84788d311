// What follows for their runs when jobs end, in the very transaction that ends them: dependents are released or fail,
// parents start, siblings are stopped, compensations are submitted (D3, D8). The rules are those of domain/run.ts.
//
// Invariants
//  1. The run's row is locked before anything in it is read that is acted on; each statement sees what was committed
//     before it began.
//  2. Which jobs have ended is read from the page of events that this very transaction wrote, so whatever ends jobs
//     can be followed by this.
//  3. It runs twice: the second time counts a parent that the first one failed.
//  4. What undoes a failed run becomes part of it: each waits softly for what undoes the job that succeeded next after
//     its own, so that they run in the reverse order, one after the other.
//  5. A node is counted once (`ended_as`), an edge counts down once: it may run again without harm. A dead letter that is
//     sent back is open again (revive-job.ts), and who waits for it is counted up for it.
//  6. Only jobs that wait fail with what they wait for: one that was sent back runs although that has not ended.
import type pg from "pg";
import { JobEventType, JobState } from "../domain/job-state.js";
import { childFailedCode, dependencyFailedCode, RunPolicy } from "../domain/run.js";
import type { RunChange, RunChanges } from "../domain/run-changes.js";
import type { BatchContext } from "./group-commit.js";
import { type RefRow, toRef } from "./ref-row.js";
import { isByKey, isByKeyOf, linkHistory, rowsByKey, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** Places in lanes for jobs that one statement makes ready. Beyond it places are shared, and ids are the order. */
const placesMax = 1_024;

const failure = (code: string, message: string) =>
  `'${JSON.stringify({ type: "failure", code, message, permanent: true, retryAfterMs: 0 })}'::jsonb`;

/** Waits for whoever changes these jobs' runs. */
const lockRunsText = `
select r.run_id from (
  select distinct n.run_id from unnest($1::uuid[]) as i (id) cross join ${rowsByKey("run_node", "job_id", "i.id")} n
) d join run r on ${isByKey("r.run_id", "d.run_id")} order by d.run_id for update of r`;

/** Jobs that this transaction has ended so far. */
const writtenIds = `
  select distinct e.job_id from event_page p cross join lateral unnest(p.items) as e
  where p.writer_id = $1 and p.batch = $2 and p.at = now() and e.state >= ${JobState.Succeeded}`;

const lockWrittenText = `
select r.run_id from (
  select distinct n.run_id from (${writtenIds}) i
  cross join ${rowsByKey("run_node", "job_id", "i.job_id")} n
) d join run r on ${isByKey("r.run_id", "d.run_id")} order by d.run_id for update of r`;

const act = { release: 1, failDependency: 2, failChildren: 3, cancel: 4, ask: 5, compensate: 6 } as const;

const changeOf: Readonly<Record<number, RunChange>> = {
  [act.release]: "released",
  [act.failDependency]: "failed",
  [act.failChildren]: "failed",
  [act.cancel]: "cancelled",
  [act.ask]: "asked",
  [act.compensate]: "compensating",
};

const waiting = (jobId: string) =>
  `lateral (select from job j where ${isByKey("j.id", jobId)} and j.state = ${JobState.Blocked} offset 0)`;

// Codes in `marks`: the tens say why, so that the weightiest reason stays; the ones say the terminal state.
const advanceText = `
with recursive written as materialized (${writtenIds}
), ended as materialized (
  select n.job_id, n.run_id, n.is_child, j.state
  from written w cross join ${rowsByKey("run_node", "job_id", "w.job_id")} n
  join job j on ${isByKey("j.id", "w.job_id")}
  where n.ended_as is null and j.state >= ${JobState.Succeeded}
), stopping as materialized (
  select r.run_id, r.stop_grace_ms
  from (select run_id, bool_or(job_id = run_id) as is_parent, bool_or(is_child) as is_child from ended
    where state <> ${JobState.Succeeded} group by run_id) e
  join run r on ${isByKey("r.run_id", "e.run_id")}
  where r.policy is not null and not r.is_stopping
    and (e.is_parent or e.is_child and r.policy = ${RunPolicy.FailFast})
), halted as materialized (
  select j.id as job_id, j.state, s.stop_grace_ms
  from stopping s join run_node n on ${isByKey("n.run_id", "s.run_id")} join job j on ${isByKey("j.id", "n.job_id")}
  where n.is_child and n.ended_as is null and j.state < ${JobState.Succeeded}
  for update of j
), doomed (job_id) as (
  select e.dependent_id from (
    select job_id from ended where state <> ${JobState.Succeeded}
    union all select job_id from halted where state <> ${JobState.Leased}) f
  cross join ${rowsByKey("run_edge", "job_id", "f.job_id")} e cross join ${waiting("e.dependent_id")} w where e.is_hard
  union
  select e.dependent_id from doomed d cross join ${rowsByKey("run_edge", "job_id", "d.job_id")} e
  cross join ${waiting("e.dependent_id")} w where e.is_hard
), marks as (
  select job_id, max(code) as code from (
    select job_id, 30 + state as code from ended
    union all select job_id, 20 + ${JobState.Cancelled} from halted where state <> ${JobState.Leased}
    union all select job_id, 10 + ${JobState.Dead} from doomed) m
  group by job_id
), fallen as materialized (
  select m.job_id, n.run_id, n.is_child, m.code / 10 as reason, (m.code % 10)::smallint as state
  from marks m cross join ${rowsByKey("run_node", "job_id", "m.job_id")} n where n.ended_as is null
), counts as (
  select run_id, job_id, sum(less)::integer as less, max(ended_as) as ended_as from (
    select f.run_id, e.dependent_id as job_id, 1 as less, null::smallint as ended_as
    from fallen f cross join ${rowsByKey("run_edge", "job_id", "f.job_id")} e
    union all select run_id, run_id, 1, null from fallen where is_child
    union all select run_id, job_id, 0, state from fallen) c
  group by run_id, job_id
), counted as (
  update run_node n set waits_for = n.waits_for - c.less, ended_as = coalesce(n.ended_as, c.ended_as)
  from counts c where ${isByKeyOf("n", "c", "run_id", "job_id")}
  returning n.job_id, n.run_id, n.waits_for, n.ended_as, c.less
), failures as (
  select run_id, count(*)::integer as failed from fallen
  where is_child and state <> ${JobState.Succeeded} group by run_id
), runs as (
  update run r set children_failed = r.children_failed + m.failed, is_stopping = r.is_stopping or m.is_stopping,
    compensations = r.compensations + m.undone
  from (select run_id, sum(failed)::integer as failed, bool_or(is_stopping) as is_stopping,
      sum(undone)::integer as undone from (
        select run_id, failed, false as is_stopping, 0 as undone from failures
        union all select run_id, 0, true, 0 from stopping
        union all select run_id, 0, false, 1 from undoing where run_id is not null) u
    group by run_id) m
  where ${isByKey("r.run_id", "m.run_id")}
), acts as (
  select job_id, act, stop_grace_ms, row_number() over (order by act, job_id) as place from (
    select c.job_id, case when c.job_id = r.run_id and r.policy <> ${RunPolicy.Continue}
        and r.children_failed + coalesce((select f.failed from failures f where f.run_id = r.run_id), 0) > 0
      then ${act.failChildren} else ${act.release} end as act, null::integer as stop_grace_ms
    from counted c join run r on ${isByKey("r.run_id", "c.run_id")}
    where c.waits_for = 0 and c.ended_as is null and c.less > 0
    union all select job_id, ${act.failDependency}, null from fallen where reason = 1
    union all select job_id, ${act.cancel}, null from fallen where reason = 2
    union all select job_id, ${act.ask}, stop_grace_ms from halted where state = ${JobState.Leased}) a
), changed as (
  update job j set
      state = case when a.act = ${act.release} and j.run_at > now() then ${JobState.Scheduled}
        when a.act = ${act.release} then ${JobState.Ready} when a.act = ${act.cancel} then ${JobState.Cancelled}
        when a.act = ${act.ask} then j.state else ${JobState.Dead} end,
      finished_at = case when a.act in (${act.release}, ${act.ask}) then null else now() end,
      fencing_token = j.fencing_token + case when a.act in (${act.release}, ${act.ask}) then 0 else 1 end,
      cancel_by = case when a.act = ${act.ask} then now() + a.stop_grace_ms * interval '1 ms' end,
      outcome = case a.act when ${act.release} then j.outcome
        when ${act.failDependency} then ${failure(dependencyFailedCode, "A job that it depends on did not succeed.")}
        when ${act.failChildren} then ${failure(childFailedCode, "A child did not succeed.")}
        else '{"type": "cancelled", "reason": "The run was stopped."}'::jsonb end,
      ready_at = case when a.act = ${act.release} then now() else j.ready_at end,
      ready_key = case when a.act = ${act.release} then $3::bigint + least(a.place, ${placesMax}) else j.ready_key end,
      ${linkHistory}
  from acts a
  where ${isByKey("j.id", "a.job_id")}
    and case when a.act = ${act.ask} then j.state = ${JobState.Leased} and j.cancel_by is null
    when a.act = ${act.cancel} then j.state < ${JobState.Leased} else j.state = ${JobState.Blocked} end
  returning j.id, j.lane_id, j.ready_key, j.attempt, j.ready_at, octet_length(j.payload) + j.checkpoint_bytes as bytes,
    j.state, j.revision, j.fencing_token, j.session_id, j.run_at, j.cancel_by, j.prior_at, j.prior_writer,
    j.prior_batch, a.act, a.stop_grace_ms
), timers as (
  insert into timer (purpose, due_at, job_id, guard)
  select 1, run_at, id, revision from changed where state = ${JobState.Scheduled}
  union all select 3, cancel_by, id, fencing_token from changed where act = ${act.ask}
  on conflict do nothing
), owed as (
  select w.job_id from written w join job j on ${isByKey("j.id", "w.job_id")}
  where j.state = ${JobState.Dead} and (j.attempt > 0 or j.has_waited)
  union
  select n.job_id from ended e join run r on ${isByKey("r.run_id", "e.job_id")}
  cross join ${rowsByKey("run_node", "run_id", "r.run_id")} n
  where e.state <> ${JobState.Succeeded} and r.policy is not null and n.is_child and n.ended_as = ${JobState.Succeeded}
    and (select c.on_run_failure from compensation c where c.job_id = n.job_id)
  union
  select e.job_id from ended e cross join ${rowsByKey("run_node", "job_id", "e.run_id")} p
  where e.is_child and e.state = ${JobState.Succeeded} and p.ended_as in (${JobState.Dead}, ${JobState.Cancelled})
    and (select c.on_run_failure from compensation c where c.job_id = e.job_id)
), made as (
  update compensation c set made_job_id = new_job_id() from owed o
  where ${isByKey("c.job_id", "o.job_id")} and c.made_job_id is null
  returning c.*
), undoing as materialized (
  select m.*, u.run_id, lag(m.made_job_id) over (partition by u.run_id order by j.finished_at desc, m.job_id desc)
      as former_id
  from made m join job j on ${isByKey("j.id", "m.job_id")}
  left join ${rowsByKey("run_node", "job_id", "m.job_id")} u on j.state = ${JobState.Succeeded}
), compensating as (
  insert into job (id, tenant_id, lane_id, ready_key, state, attempts_max, submitted_at, ready_at, page_at,
    page_writer, page_batch, payload, content_type, options, is_linked)
  select made_job_id, tenant_id, lane_id, $3::bigint + ${placesMax} + least(row_number() over (order by job_id),
    ${placesMax}), case when run_id is not null and former_id is not null then ${JobState.Blocked} else ${JobState.Ready} end,
    attempts_max, now(), now(), now(), $1, $2, payload, content_type,
    coalesce(options, '{}') || jsonb_build_object('compensates', job_id)
      || case when run_id is null then '{}' else '{"run": "member"}' end::jsonb,
    case when run_id is not null then true end
  from undoing
  returning options ->> 'compensates' as undone_id, id, lane_id, ready_key, attempt, ready_at, octet_length(payload) as bytes, state, revision, fencing_token
), undoing_nodes as (
  insert into run_node (job_id, run_id, is_child, waits_for)
  select made_job_id, run_id, false, case when former_id is null then 0 else 1 end from undoing where run_id is not null
), undoing_edges as (
  insert into run_edge (job_id, dependent_id, is_hard)
  select former_id, made_job_id, false from undoing where run_id is not null and former_id is not null
), page as (
  insert into event_page (at, writer_id, batch, items)
  select now(), $1, $2, array_agg(item) from (
    select row(id, case when act = ${act.release} then ${JobEventType.Unblocked}
        when act = ${act.cancel} then ${JobEventType.Cancelled}
        when act = ${act.ask} then ${JobEventType.CancelRequested} else ${JobEventType.Dead} end,
      state, revision, attempt, fencing_token, session_id,
      case act when ${act.failDependency} then '${dependencyFailedCode}' when ${act.failChildren} then '${childFailedCode}'
        when ${act.cancel} then 'The run was stopped.' when ${act.ask} then 'The run was stopped.' end,
      prior_at, prior_writer, prior_batch)::event_item as item
    from changed
    union all
    select row(id, ${JobEventType.Submitted}, state, revision, attempt, fencing_token, null, 'Undoes ' || undone_id, null,
      null, null)::event_item from compensating) i
  having count(*) > 0
  on conflict (writer_id, batch, at) do update set items = event_page.items || excluded.items
)
select id, lane_id, ready_key, attempt, ${toMs("ready_at")} as ready_at_ms, bytes, state, session_id, fencing_token,
  act, stop_grace_ms, ${toMs("coalesce(cancel_by, run_at)")} as due_at_ms
from changed
union all
select id, lane_id, ready_key, attempt, ${toMs("ready_at")}, bytes, state, null, fencing_token, ${act.compensate}, null, null
from compensating`;

interface ChangeRow extends RefRow {
  readonly state: JobState;
  readonly session_id: string | null;
  readonly fencing_token: string;
  readonly act: number;
  readonly stop_grace_ms: number | null;
  readonly due_at_ms: number | null;
}

export function lockRuns(jobIds: readonly string[]): pg.QueryConfig {
  return { name: "lock_runs", text: lockRunsText, values: [uuidArray(jobIds)] };
}

/**
 * Runs a statement that ends jobs, and what follows for their runs, as one transaction.
 *
 * @param lock takes the locks on the runs of all jobs that it may end
 */
export async function endJobs<Row extends object>(
  on: BatchContext,
  lock: pg.QueryConfig,
  statement: pg.QueryConfig,
): Promise<{ rows: (Row & pg.QueryResultRow)[]; advanced: RunChanges }> {
  const written = [on.writerId, on.batch];
  const advance = (firstKey: number) => ({
    name: "advance_runs",
    text: advanceText,
    values: [...written, firstKey - 1],
  });
  const answers = await on.connection.together([
    lock,
    statement,
    // Once more: a job may have joined a run after the first look.
    { name: "lock_written_runs", text: lockWrittenText, values: written },
    advance(on.reserveReadyKeys(2 * placesMax)),
    advance(on.reserveReadyKeys(2 * placesMax)),
  ]);
  const [, done, , first, second] = answers;
  if (!done || !first || !second) throw new Error("A statement of a transaction was left unanswered.");
  return {
    rows: done.rows as (Row & pg.QueryResultRow)[],
    advanced: toChanges([...first.rows, ...second.rows] as ChangeRow[]),
  };
}

function toChanges(rows: readonly ChangeRow[]): RunChanges {
  const due = rows.flatMap(({ due_at_ms, state }) =>
    due_at_ms !== null && (state === JobState.Scheduled || state === JobState.Leased) ? [due_at_ms] : [],
  );
  const counts = new Map<RunChange, number>();
  for (const row of rows) {
    const change = changeOf[row.act] as RunChange;
    counts.set(change, (counts.get(change) ?? 0) + 1);
  }
  return {
    counts,
    refs: rows.filter(({ state }) => state === JobState.Ready).map(toRef),
    jobIds: rows.map(({ id }) => id),
    asked: rows.flatMap((row) =>
      row.act === act.ask && row.session_id !== null
        ? [
            {
              jobId: row.id,
              sessionId: row.session_id,
              fencingToken: BigInt(row.fencing_token),
              graceMs: row.stop_grace_ms ?? 0,
            },
          ]
        : [],
    ),
    dueAtMs: due.length > 0 ? Math.min(...due) : null,
  };
}
