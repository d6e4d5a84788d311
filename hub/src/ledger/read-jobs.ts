import type { JobOptions, Priority } from "../domain/job-spec.js";
import { type JobEventType, JobState } from "../domain/job-state.js";
import type { JobEvent, JobFilter, JobPage, JobView } from "../domain/job-view.js";
import type { Outcome } from "../domain/outcome.js";
import { isUuid, timeOfUuid, uuidPrefix } from "../domain/uuid.js";
import type { ReadPool } from "./read-pool.js";
import { readSuspended } from "./read-suspended.js";
import { isByKey, isByKeyOf, numberArray, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

interface JobRow {
  readonly id: string;
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly priority: Priority;
  readonly capabilities: string[];
  readonly source: string;
  readonly fairness_key: string;
  readonly fairness_weight: number;
  readonly options: JobOptions | null;
  readonly state: JobState;
  readonly attempt: number;
  readonly attempts_max: number;
  readonly fencing_token: string;
  readonly revision: number;
  readonly submitted_at_ms: number;
  readonly run_at_ms: number | null;
  readonly started_at_ms: number | null;
  readonly finished_at_ms: number | null;
  readonly deadline_ms: number | null;
  readonly session_id: string | null;
  readonly has_success: boolean;
  readonly result: Buffer | null;
  readonly result_content_type: string | null;
  readonly outcome: Outcome | null;
  readonly progress: JobView["progress"];
  readonly checkpoint_sequence: string;
  readonly payload: Buffer | null;
  readonly content_type: string | null;
  readonly run_id?: string | null;
}

const summaryColumns = `
  j.id, l.product, l.queue, l.kind, l.priority, l.capabilities, l.source, l.fairness_key, l.fairness_weight, j.options, j.state,
  j.attempt, j.attempts_max, j.fencing_token, j.revision, ${toMs("j.submitted_at")} as submitted_at_ms, ${toMs("j.run_at")} as run_at_ms,
  ${toMs("j.started_at")} as started_at_ms, ${toMs("j.finished_at")} as finished_at_ms,
  ${toMs("j.deadline")} as deadline_ms, j.session_id, j.state = 6 as has_success, j.outcome, j.progress,
  j.checkpoint_sequence, j.content_type, j.result_content_type`;

function toView(row: JobRow): JobView {
  return {
    jobId: row.id,
    product: row.product,
    queue: row.queue,
    kind: row.kind,
    priority: row.priority,
    capabilities: row.capabilities,
    source: row.source,
    fairness: { key: row.fairness_key, weight: row.fairness_weight },
    options: row.options ?? {},
    state: row.state,
    attempt: row.attempt,
    attemptsMax: row.attempts_max,
    fencingToken: BigInt(row.fencing_token),
    revision: row.revision,
    submittedAtMs: row.submitted_at_ms,
    runAtMs: row.run_at_ms,
    startedAtMs: row.started_at_ms,
    finishedAtMs: row.finished_at_ms,
    deadlineMs: row.deadline_ms,
    sessionId: row.session_id,
    outcome: row.has_success
      ? {
          type: "success",
          result: row.result ?? new Uint8Array(),
          contentType: row.result_content_type ?? "",
        }
      : row.outcome,
    progress: row.progress,
    checkpointSequence: BigInt(row.checkpoint_sequence),
    payload: row.payload ?? new Uint8Array(),
    contentType: row.content_type ?? "",
    runId: row.run_id ?? null,
  };
}

/** One job with payload and result, or null: absent and another tenant's look the same. */
export async function readJob(db: ReadPool, tenantId: number, jobId: string): Promise<JobView | null> {
  if (!isUuid(jobId)) return null;
  const { rows } = await db.query<JobRow>({
    name: "read_job",
    text: `select ${summaryColumns}, j.payload, j.result,
        (select n.run_id from run_node n where n.job_id = j.id) as run_id
      from job j join lane l on ${isByKey("l.lane_id", "j.lane_id")} where j.id = $1 and j.tenant_id = $2`,
    values: [jobId, tenantId],
  });
  const [row] = rows;
  if (!row) return null;
  const awaits = row.state === JobState.Parked ? await readSuspended(db, tenantId, jobId) : null;
  return { ...toView(row), ...(awaits && { awaits }) };
}

/** Jobs looked at for one page of a list, at most: bounds the cost of a filter that matches nothing. */
const scannedPerPageMax = 20_000;

/** Newest first, along the primary key. A page may hold fewer than `limit` although more follow. */
export async function listJobs(
  db: ReadPool,
  tenantId: number,
  filter: JobFilter,
  beforeId: string,
  limit: number,
): Promise<JobPage> {
  const { rows } = await db.query<JobRow & { oldest_id: string | null; scanned: number }>({
    name: "list_jobs",
    text: `
      with scanned as (
        select * from job where id < $2 and id >= uuid_floor(to_timestamp($8::float8 / 1000))
        order by id desc limit ${scannedPerPageMax}
      ), matching as (
        select ${summaryColumns} from scanned j join lane l on ${isByKey("l.lane_id", "j.lane_id")}
        where j.tenant_id = $1 and ($3::smallint[] = '{}' or j.state = any($3)) and ($4 = '' or l.kind = $4)
          and ($5 = '' or l.queue = $5) and ($6 = '' or l.product = $6)
          and ($7::jsonb = '{}' or coalesce(j.options -> 'labels', '{}') @> $7)
        order by j.id desc limit $9
      )
      select m.*, s.oldest_id, s.scanned
      from (select min(id::text) as oldest_id, count(*)::integer as scanned from scanned) s left join matching m on true
      order by m.id desc`,
    values: [
      tenantId,
      beforeId,
      numberArray(filter.states),
      filter.kind,
      filter.queue,
      filter.product,
      JSON.stringify(filter.labels),
      filter.submittedAfterMs,
      limit,
    ],
  });
  const first = rows[0];
  const jobs = rows.filter((row) => row.id !== null).map((row) => toView(row));
  if (jobs.length === limit) return { jobs, nextBeforeId: (jobs.at(-1) as JobView).jobId };
  if (!first?.oldest_id || first.scanned < scannedPerPageMax) return { jobs, nextBeforeId: null };
  // The oldest may be another tenant's, whose id is nobody's business: the next page begins with its whole millisecond.
  const nextBeforeId = `${uuidPrefix(timeOfUuid(first.oldest_id) + 1)}-7000-8000-000000000000`;
  if (nextBeforeId >= beforeId) return { jobs, nextBeforeId: first.oldest_id };
  return { jobs: jobs.filter((job) => job.jobId >= nextBeforeId), nextBeforeId };
}

const hasPage = isByKeyOf("p", "s", "writer_id", "batch", "at");

// From the job's newest page of events back along the links: each step is one lookup by primary key.
const historyText = `
with recursive step as (
  select j.id as job_id, j.page_at as at, j.page_writer as writer_id, j.page_batch as batch, 1 as depth
  from job j where j.id = $1 and j.tenant_id = $2 and j.revision > $3
  union all
  select s.job_id, e.prior_at, e.prior_writer, e.prior_batch, s.depth + 1
  from step s
  join event_page p on ${hasPage}
  cross join lateral unnest(p.items) as e
  where e.job_id = s.job_id and e.prior_batch is not null and e.revision > $3 + 1 and s.depth < $4
)
select p.writer_id, p.batch, e.ordinal, e.type, e.state, e.revision, e.attempt, e.fencing_token, e.session_id,
  e.reason, ${toMs("p.at")} as at_ms
from step s
join event_page p on ${hasPage}
cross join lateral unnest(p.items) with ordinality
  as e (job_id, type, state, revision, attempt, fencing_token, session_id, reason, prior_at, prior_writer, prior_batch, ordinal)
where e.job_id = s.job_id and e.revision > $3
order by e.revision`;

/** The newest `limit` events of a job with a revision above `afterRevision`, oldest first (D20, D21). */
export async function readHistory(
  db: ReadPool,
  tenantId: number,
  jobId: string,
  afterRevision: number,
  limit: number,
): Promise<JobEvent[]> {
  const { rows } = await db.query<{
    writer_id: number;
    batch: string;
    ordinal: string;
    type: JobEventType;
    state: JobState;
    revision: number;
    attempt: number;
    fencing_token: string;
    session_id: string | null;
    reason: string | null;
    at_ms: number;
  }>({ name: "read_history", text: historyText, values: [jobId, tenantId, afterRevision, limit] });
  return rows.map((row) => ({
    eventId: `${row.writer_id}-${row.batch}-${row.ordinal}`,
    jobId,
    type: row.type,
    state: row.state,
    revision: row.revision,
    attempt: row.attempt,
    fencingToken: BigInt(row.fencing_token),
    sessionId: row.session_id,
    reason: row.reason ?? "",
    atMs: row.at_ms,
  }));
}

/** The fencing token under which each job's newest accepted result came; jobs without one are missing. */
export async function readReportedTokens(
  db: ReadPool,
  tenantId: number,
  jobIds: readonly string[],
): Promise<Map<string, bigint>> {
  const { rows } = await db.query<{ id: string; outcome_token: string }>({
    name: "read_reported_tokens",
    text: "select id, outcome_token from job where id = any($1) and tenant_id = $2 and outcome_token is not null",
    values: [uuidArray(jobIds), tenantId],
  });
  return new Map(rows.map((row) => [row.id, BigInt(row.outcome_token)]));
}
