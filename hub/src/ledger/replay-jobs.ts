// Submits ended jobs once more: a job alone, or all jobs of a run, all or nothing, in one transaction (D1). The inputs
// are copied where they are; no payload passes through the hub.
//
// Invariants
//  1. A run is repeated whole: as many jobs as it counts, all of which have ended.
//  2. A request_id makes one replay; what comes again is answered with that one.
//  3. What the originals had come to, and who asked for it and why, is written down in the same transaction that repeats
//     them.
import pg from "pg";
import { EffectState } from "../domain/effect.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import { lockRuns } from "./advance-runs.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { recordOperations } from "./operations.js";
import { type RefRow, toRef } from "./ref-row.js";
import { isByKey, numberArray, rowsByKey, toMs, writePage } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** One job to repeat. */
export interface RepeatedJob {
  readonly originalId: string;
  /** A fresh UUIDv7; ids rise in the order of the originals. */
  readonly jobId: string;
  readonly laneId: number;
}

export interface ReplayItem {
  readonly tenantId: number;
  readonly requestId: string;
  /** The job to repeat, or the run. */
  readonly originalId: string;
  readonly isRun: boolean;
  /** The original among them. */
  readonly jobs: readonly RepeatedJob[];
  readonly repeatsEffects: boolean;
  readonly reason: string;
  readonly requestedBy: string;
}

export type ReplayResult =
  /** Jobs that may be claimed at once. */
  | { readonly type: "accepted"; readonly replayId: string; readonly refs: readonly Ref[] }
  | { readonly type: "existing"; readonly replayId: string; readonly jobs: number }
  /** The request_id made another replay. */
  | { readonly type: "conflict"; readonly replayId: string }
  | { readonly type: "not_terminal"; readonly jobId: string }
  /** Jobs of the run are gone, or came since it was read. */
  | { readonly type: "changed" };

const triesMax = 5;

const findText = `
select replay_id, original_id, repeats_effects, jobs from replay where tenant_id = $1 and request_id = $2`;

const openText = `
select id from job where id = any($1::uuid[]) and tenant_id = $2 and state < ${JobState.Succeeded} order by id limit 1`;

/** What belonged to the original's submit, or happened to it, and is not repeated. */
const droppedOptions = "- 'startByMs' - 'unique' - 'run' - 'replay' - 'compensates' - 'retried'";

/** Which jobs repeat which, if all may be repeated; the next statement finds it by key. */
const compareText = `
with source as materialized (
  select a.original_id, a.id, coalesce(j.options #>> '{replay,originId}', j.id::text)::uuid as origin_id, j.state,
    outcome_digest(j.state, j.outcome, j.result, j.result_content_type) as digest
  from unnest($1::uuid[], $2::uuid[]) as a (original_id, id)
  join job j on ${isByKey("j.id", "a.original_id")} and j.tenant_id = $3
), replays as (
  insert into replay (replay_id, tenant_id, request_id, original_id, is_run, jobs, repeats_effects, reason, requested_by)
  select $4, $3, $5, $6, $7::uuid is not null, s.found, $8, $9, $10
  from (select count(*)::integer as found, min(state) as lowest from source) s
  where s.found = cardinality($1::uuid[]) and s.lowest >= ${JobState.Succeeded}
    and ($7 is null or exists (select from run r where r.run_id = $7 and r.jobs = s.found))
  returning *
), changed as (
  select tenant_id as operation_tenant, 'job.replay' as action, 'job:' || original_id as target, null::jsonb as before,
    jsonb_build_object('replayId', replay_id, 'isRun', is_run, 'jobs', jobs, 'repeatEffects', repeats_effects) as after,
    requested_by as subject, reason, '' as ticket
  from replays
), ${recordOperations("changed")}
insert into replay_job (replay_id, job_id, original_id, origin_id, state, digest)
select $4, id, original_id, origin_id, state, digest from source where exists (select from replays)`;

/**
 * Looked up edge by edge: as a join, the planner might begin with all jobs of the replay. The order keeps it from the other
 * index that begins with the replay.
 */
const newId = (originalId: string) =>
  `(select u.job_id from replay_job u where u.replay_id = $8 and ${isByKey("u.original_id", originalId)}
    order by u.original_id)`;

const replayText = `
with admitted as materialized (
  select replay_id, is_run, reason, repeats_effects from replay where replay_id = $8
), asked as materialized (
  select * from unnest($3::uuid[], $4::uuid[], $5::integer[], $6::bigint[]) as i (original_id, id, lane_id, ready_key)
  where exists (select from admitted)
), placed as materialized (
  select a.*, n.is_child, case when n.run_id is null then 0 else
    (select count(*)::integer from run_edge e where e.dependent_id = a.original_id and ${newId("e.job_id")} is not null)
    + case when a.id = $8 then (select count(*)::integer from run_node c where c.run_id = $9 and c.is_child) else 0 end
    end as waits
  from asked a left join ${rowsByKey("run_node", "job_id", "a.original_id")} n on n.run_id = $9
), inserted as (
  insert into job (id, tenant_id, lane_id, ready_key, state, attempts_max, submitted_at, ready_at, page_at, page_writer,
    page_batch, payload, content_type, options, is_linked)
  select p.id, $7, p.lane_id, p.ready_key,
    case when p.waits > 0 then ${JobState.Blocked} else ${JobState.Ready} end, j.attempts_max, now(), now(), now(), $1,
    $2, j.payload, j.content_type,
    coalesce(j.options, '{}') ${droppedOptions}
      || jsonb_build_object('replay', jsonb_build_object('id', $8::uuid, 'jobId', j.id,
        'originId', coalesce(j.options #>> '{replay,originId}', j.id::text)))
      || case when p.is_child is null then '{}'
           when p.id = $8 and exists (select from run r where r.run_id = $9 and r.policy is not null)
             then '{"run": "parent"}'
           else '{"run": "member"}' end::jsonb,
    case when p.is_child is not null then true end
  from placed p join job j on ${isByKey("j.id", "p.original_id")}
  returning id, lane_id, ready_key, state, attempt, ready_at, octet_length(payload) as bytes,
    options #>> '{replay,jobId}' as original_id
), nodes as (
  insert into run_node (job_id, run_id, is_child, waits_for)
  select id, $8, is_child, waits from placed where is_child is not null
), edges as (
  insert into run_edge (job_id, dependent_id, is_hard)
  select ${newId("e.job_id")}, p.id, e.is_hard
  from placed p join run_edge e on ${isByKey("e.dependent_id", "p.original_id")}
  where p.is_child is not null and ${newId("e.job_id")} is not null
), runs as (
  insert into run (run_id, tenant_id, policy, stop_grace_ms, jobs)
  select $8, tenant_id, policy, stop_grace_ms, jobs from run where run_id = $9 and exists (select from admitted)
), effects as (
  insert into effect (tenant_id, job_id, scope, key, state, effect_token, subject, request_id, claimed_at, expires_at,
    completed_at, fingerprint, content_type, result)
  select $7, p.id, '', e.key, e.state, e.effect_token, e.subject, e.request_id, e.claimed_at, e.expires_at,
    e.completed_at, e.fingerprint, e.content_type, e.result
  from placed p
  cross join lateral (
    select * from effect where tenant_id = $7 and job_id = p.original_id and scope = '' offset 0) e
  where e.state = ${EffectState.Completed} and not (select repeats_effects from admitted)
), events as (
  select id, state, 1 as revision, 0::smallint as attempt, 0::bigint as fencing_token,
    ${JobEventType.Submitted}::smallint as event, null::uuid as event_session,
    'Replay of ' || original_id
      || case when id = $8 then (select coalesce(': ' || nullif(reason, ''), '') from admitted) else '' end as reason,
    null::timestamptz as prior_at, null::integer as prior_writer, null::bigint as prior_batch
  from inserted
), ${writePage("events")}
select id, lane_id, ready_key, state, attempt, ${toMs("ready_at")} as ready_at_ms, bytes from inserted`;

type InsertedRow = RefRow & { readonly state: JobState };

export const replayJobs: BatchStatement<ReplayItem, ReplayResult> = {
  name: "replay_jobs",
  itemsMax: 1,
  bytesMax: 64 << 20,
  bytesOf: (item) => item.jobs.length * 512,
  run: async (on, [item]) => {
    if (!item) throw new TypeError("Nothing to replay.");
    const firstKey = on.reserveReadyKeys(item.jobs.length);
    for (let tries = 1; ; tries += 1) {
      const known = await findReplay(on, item);
      if (known) return { results: [known], wrotePage: false };
      try {
        const rows = await repeat(on, item, firstKey);
        const result: ReplayResult =
          rows.length > 0
            ? {
                type: "accepted",
                replayId: replayIdOf(item),
                refs: rows.filter(({ state }) => state === JobState.Ready).map(toRef),
              }
            : await judgeRefused(on, item);
        return { results: [result], wrotePage: rows.length > 0 };
      } catch (error) {
        // Somebody else was faster with the request_id.
        const isTaken = error instanceof pg.DatabaseError && error.code === "23505";
        if (!isTaken || tries === triesMax) throw error;
      }
    }
  },
};

/** The new job that stands for the whole. */
function replayIdOf(item: ReplayItem): string {
  const root = item.jobs.find(({ originalId }) => originalId === item.originalId);
  if (!root) throw new TypeError("The original is not among the jobs to repeat.");
  return root.jobId;
}

async function findReplay(on: BatchContext, item: ReplayItem): Promise<ReplayResult | null> {
  const { rows } = await on.connection.query<{
    replay_id: string;
    original_id: string;
    repeats_effects: boolean;
    jobs: number;
  }>({ name: "find_replay", text: findText, values: [item.tenantId, item.requestId] });
  const row = rows[0];
  if (!row) return null;
  const isSame = row.original_id === item.originalId && row.repeats_effects === item.repeatsEffects;
  return isSame
    ? { type: "existing", replayId: row.replay_id, jobs: row.jobs }
    : { type: "conflict", replayId: row.replay_id };
}

async function repeat(on: BatchContext, item: ReplayItem, firstKey: number): Promise<InsertedRow[]> {
  const { jobs, tenantId } = item;
  const originals = uuidArray(jobs.map(({ originalId }) => originalId));
  const ids = uuidArray(jobs.map(({ jobId }) => jobId));
  const replayId = replayIdOf(item);
  const runId = item.isRun ? item.originalId : null;
  const { requestId, originalId, repeatsEffects, reason, requestedBy } = item;
  const answers = await on.connection.together([
    lockRuns([item.originalId]),
    {
      name: "compare_replay",
      text: compareText,
      values: [
        originals,
        ids,
        tenantId,
        replayId,
        requestId,
        originalId,
        runId,
        repeatsEffects,
        reason,
        requestedBy,
      ],
    },
    {
      name: "replay_jobs",
      text: replayText,
      values: [
        on.writerId,
        on.batch,
        originals,
        ids,
        numberArray(jobs.map(({ laneId }) => laneId)),
        numberArray(jobs.map((_, at) => firstKey + at)),
        tenantId,
        replayId,
        runId,
      ],
    },
  ]);
  return (answers.at(-1) as pg.QueryResult<InsertedRow>).rows;
}

async function judgeRefused(on: BatchContext, item: ReplayItem): Promise<ReplayResult> {
  const { rows } = await on.connection.query<{ id: string }>({
    name: "judge_replay",
    text: openText,
    values: [uuidArray(item.jobs.map(({ originalId }) => originalId)), item.tenantId],
  });
  const [open] = rows;
  return open ? { type: "not_terminal", jobId: open.id } : { type: "changed" };
}
