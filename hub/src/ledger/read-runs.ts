import type pg from "pg";
import type { JobOptions } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { Outcome } from "../domain/outcome.js";
import type { RunPolicy } from "../domain/run.js";
import type { ChildrenPage, DagPage } from "../domain/run-view.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";

const runText = `
select r.run_id, r.policy, r.jobs + r.compensations as jobs, r.children_failed
from run_node n join run r on ${isByKey("r.run_id", "n.run_id")} where n.job_id = $1 and r.tenant_id = $2`;

// The limit is a subquery of its own, so that only the page's jobs are looked up, by key. A job that was sent back, or
// started before something was, waits for nothing, whatever is counted.
const nodesText = `
select n.job_id, l.kind, j.options, j.state, n.is_child, j.attempt,
  case when j.state = ${JobState.Blocked} then n.waits_for else 0 end as waits_for,
  ${toMs("j.submitted_at")} as submitted_at_ms, ${toMs("j.started_at")} as started_at_ms,
  ${toMs("j.finished_at")} as finished_at_ms, case when j.state = ${JobState.Dead} then j.outcome ->> 'code' end as code,
  e.ids, e.hard, c.made_job_id
from (select * from run_node where run_id = $1 and job_id > $2 order by job_id limit $3) n
join job j on ${isByKey("j.id", "n.job_id")}
join lane l on ${isByKey("l.lane_id", "j.lane_id")}
left join lateral (select array_agg(job_id) as ids, array_agg(is_hard) as hard from run_edge
  where dependent_id = n.job_id) e on true
left join compensation c on ${isByKey("c.job_id", "n.job_id")}
order by n.job_id`;

interface NodeRow {
  readonly job_id: string;
  readonly kind: string;
  readonly options: JobOptions | null;
  readonly state: JobState;
  readonly is_child: boolean;
  readonly waits_for: number;
  readonly attempt: number;
  readonly submitted_at_ms: number;
  readonly started_at_ms: number | null;
  readonly finished_at_ms: number | null;
  readonly code: string | null;
  readonly ids: string[] | null;
  readonly hard: boolean[] | null;
  readonly made_job_id: string | null;
}

/** A page of the run that a job belongs to, in the order of submission; null when it belongs to none. */
export async function readDag(
  db: ReadPool,
  tenantId: number,
  jobId: string,
  afterId: string,
  limit: number,
): Promise<DagPage | null> {
  const found = await db.query<{
    run_id: string;
    policy: RunPolicy | null;
    jobs: number;
    children_failed: number;
  }>({ name: "find_run", text: runText, values: [jobId, tenantId] });
  const run = found.rows[0];
  if (!run) return null;
  const { rows } = await db.query<NodeRow>({
    name: "read_dag",
    text: nodesText,
    values: [run.run_id, afterId, limit],
  });
  return {
    runId: run.run_id,
    policy: run.policy,
    jobs: run.jobs,
    childrenFailed: run.children_failed,
    nodes: rows.map((row) => ({
      jobId: row.job_id,
      kind: row.kind,
      idempotencyKey: row.options?.idempotencyKey ?? "",
      options: row.options ?? {},
      state: row.state,
      isChild: row.is_child,
      dependsOn: (row.ids ?? []).map((id, at) => ({ jobId: id, isHard: row.hard?.[at] === true })),
      waitsFor: row.waits_for,
      attempt: row.attempt,
      submittedAtMs: row.submitted_at_ms,
      startedAtMs: row.started_at_ms,
      finishedAtMs: row.finished_at_ms,
      failureCode: row.code ?? "",
      compensationJobId: row.made_job_id ?? "",
    })),
    nextAfterId: rows.length === limit ? (rows.at(-1)?.job_id ?? null) : null,
  };
}

/** Bytes of what a child that did not succeed has to say, for the bound. */
const outcomeBytes = 256;

// A child counts what lies before it, so a page ends where its bytes do; it has one child at least.
const childrenText = `
select c.*, (select count(*)::integer from run_node where run_id = $1 and is_child) as total,
  (select job_id from run_node where run_id = $1 and is_child order by job_id desc limit 1) as last_id
from (
  select n.job_id, l.kind, j.options ->> 'idempotencyKey' as key, j.state, j.result, j.result_content_type,
    case when j.state >= ${JobState.Succeeded} then j.outcome end as outcome,
    sum(coalesce(octet_length(j.result), 0) + ${outcomeBytes}) over (order by n.job_id) as bytes_through,
    row_number() over (order by n.job_id) as place
  from (select * from run_node where run_id = $1 and is_child and job_id > $2 order by job_id limit $3) n
  join job j on ${isByKey("j.id", "n.job_id")} and ($5::integer is null or j.tenant_id = $5)
  join lane l on ${isByKey("l.lane_id", "j.lane_id")}
) c
where c.place = 1 or c.bytes_through <= $4
order by c.job_id`;

interface ChildRow {
  readonly job_id: string;
  readonly kind: string;
  readonly key: string | null;
  readonly state: JobState;
  readonly result: Buffer | null;
  readonly result_content_type: string | null;
  readonly outcome: Outcome | null;
  readonly total: number;
  readonly last_id: string;
}

export interface ChildrenBounds {
  readonly afterId: string;
  readonly childrenMax: number;
  /** Of results. */
  readonly bytesMax: number;
}

/**
 * Outcomes of a parent's children, in the order of submission: as many as fit.
 *
 * @param tenantId null for whoever has the parent's lease
 */
export async function readChildren(
  query: <Row extends object>(config: pg.QueryConfig) => Promise<pg.QueryResult<Row & pg.QueryResultRow>>,
  tenantId: number | null,
  runId: string,
  { afterId, childrenMax, bytesMax }: ChildrenBounds,
): Promise<ChildrenPage> {
  const { rows } = await query<ChildRow>({
    name: "read_children",
    text: childrenText,
    values: [runId, afterId, childrenMax, bytesMax, tenantId],
  });
  const last = rows.at(-1);
  return {
    children: rows.map((row) => ({
      jobId: row.job_id,
      kind: row.kind,
      idempotencyKey: row.key ?? "",
      state: row.state,
      outcome:
        row.state === JobState.Succeeded
          ? {
              type: "success",
              result: row.result ?? new Uint8Array(),
              contentType: row.result_content_type ?? "",
            }
          : row.outcome,
    })),
    total: last?.total ?? 0,
    nextAfterId: last && last.job_id !== last.last_id ? last.job_id : null,
  };
}

const keysText = `
select i.key, k.job_id from unnest($2::text[]) as i (key)
cross join lateral (select job_id from idempotency where tenant_id = $1 and key = i.key offset 0) k`;

/** Which job each key was used for; keys that never were are missing. */
export async function findKeys(
  db: ReadPool,
  tenantId: number,
  keys: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ key: string; job_id: string }>({
    name: "find_keys",
    text: keysText,
    values: [tenantId, keys],
  });
  return new Map(rows.map((row) => [row.key, row.job_id]));
}
