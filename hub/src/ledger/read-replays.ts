import { JobState } from "../domain/job-state.js";
import { type ReplayedJob, type ReplayView, replayJobsMax } from "../domain/replay.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";

/** Jobs to repeat, with the lanes in which they began. */
export interface ReplaySource {
  readonly isRun: boolean;
  /** Jobs that the run counts; more than there are when retention dropped some. */
  readonly jobsCounted: number;
  /** In the order of their ids; of a run that is too large, one more than a replay takes. */
  readonly jobs: readonly { readonly jobId: string; readonly laneId: number; readonly kind: string }[];
}

// Of a run, what was submitted: what undid it is no part of its inputs. A retried job waits in its lane's twin; its replay begins where every job does. The limit is a subquery of its own,
// so that only these jobs are looked up, by key.
const sourceText = `
select j.id, coalesce(f.lane_id, l.lane_id) as lane_id, l.kind, r.jobs
from (
  select $1::uuid as job_id, null::uuid as run_id where not exists (select from run where run_id = $1)
  union all
  (select job_id, run_id from run_node where run_id = $1 order by job_id limit ${replayJobsMax + 1})
) n
join job j on ${isByKey("j.id", "n.job_id")} and j.tenant_id = $2
join lane l on ${isByKey("l.lane_id", "j.lane_id")}
left join lane f on l.is_retry and f.retry_lane_id = l.lane_id
left join run r on ${isByKey("r.run_id", "n.run_id")}
where n.run_id is null or not coalesce(j.options, '{}') ? 'compensates'
order by n.job_id`;

/** What a replay of a job, or of the run that has this id, would repeat; null: absent, or another tenant's. */
export async function readReplaySource(
  db: ReadPool,
  tenantId: number,
  jobId: string,
): Promise<ReplaySource | null> {
  const { rows } = await db.query<{ id: string; lane_id: number; kind: string; jobs: number | null }>({
    name: "read_replay_source",
    text: sourceText,
    values: [jobId, tenantId],
  });
  const [first] = rows;
  if (!first) return null;
  return {
    isRun: first.jobs !== null,
    jobsCounted: first.jobs ?? 1,
    jobs: rows.map((row) => ({ jobId: row.id, laneId: row.lane_id, kind: row.kind })),
  };
}

const replayText = `
select r.*, ${toMs("r.requested_at")} as requested_at_ms,
  (select count(*)::integer from replay_job p join job j on ${isByKey("j.id", "p.job_id")}
    where p.replay_id = r.replay_id and j.state < ${JobState.Succeeded}) as pending
from replay r
where r.tenant_id = $2 and r.replay_id
  = coalesce((select (options #>> '{replay,id}')::uuid from job where id = $1), $1)`;

interface ReplayRow {
  readonly replay_id: string;
  readonly original_id: string;
  readonly is_run: boolean;
  readonly jobs: number;
  readonly pending: number;
  readonly reason: string;
  readonly requested_by: string;
  readonly requested_at_ms: number;
  readonly repeats_effects: boolean;
}

/** The replay with this id, or to which this job belongs; null: absent, or another tenant's. */
export async function readReplay(db: ReadPool, tenantId: number, id: string): Promise<ReplayView | null> {
  const { rows } = await db.query<ReplayRow>({
    name: "read_replay",
    text: replayText,
    values: [id, tenantId],
  });
  const row = rows[0];
  return row
    ? {
        replayId: row.replay_id,
        originalId: row.original_id,
        isRun: row.is_run,
        jobs: row.jobs,
        pending: row.pending,
        reason: row.reason,
        requestedBy: row.requested_by,
        requestedAtMs: row.requested_at_ms,
        repeatsEffects: row.repeats_effects,
      }
    : null;
}

const comparedText = `
select p.job_id, p.original_id, p.state as original_state, p.digest as original_digest, j.state, l.kind,
  j.options ->> 'idempotencyKey' as key,
  case when j.state >= ${JobState.Succeeded}
    then outcome_digest(j.state, j.outcome, j.result, j.result_content_type) end as digest
from (select * from replay_job where replay_id = $1 and original_id > $2 order by original_id limit $3) p
left join job j on ${isByKey("j.id", "p.job_id")}
left join lane l on ${isByKey("l.lane_id", "j.lane_id")}
order by p.original_id`;

interface ComparedRow {
  readonly job_id: string;
  readonly original_id: string;
  readonly original_state: JobState;
  readonly original_digest: Buffer;
  readonly state: JobState | null;
  readonly kind: string | null;
  readonly key: string | null;
  readonly digest: Buffer | null;
}

/** A page of a replay's jobs, in the order of their originals, each with what its original and itself came to. */
export async function readReplayedJobs(
  db: ReadPool,
  replayId: string,
  afterId: string,
  limit: number,
): Promise<{ readonly jobs: readonly ReplayedJob[]; readonly nextAfterId: string | null }> {
  const { rows } = await db.query<ComparedRow>({
    name: "read_replayed_jobs",
    text: comparedText,
    values: [replayId, afterId, limit],
  });
  return {
    jobs: rows.map((row) => ({
      jobId: row.job_id,
      originalId: row.original_id,
      kind: row.kind ?? "",
      idempotencyKey: row.key ?? "",
      originalState: row.original_state,
      originalDigest: row.original_digest,
      state: row.state,
      digest: row.digest,
    })),
    nextAfterId: rows.length === limit ? (rows.at(-1)?.original_id ?? null) : null,
  };
}
