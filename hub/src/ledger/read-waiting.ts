import type { WaitedFor } from "../domain/explain.js";
import { JobState } from "../domain/job-state.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** Jobs before another in its lane are counted up to here. */
const countedAheadMax = 10_000;

export interface WaitingPlace {
  readonly laneId: number;
  readonly readyKey: number;
  readonly readyAtMs: number;
  /** Bytes of payload and checkpoint. */
  readonly bytes: number;
  readonly attempt: number;
  readonly jobsAhead: number;
  /** There are more than were counted. */
  readonly isAtLeast: boolean;
}

/** Where a ready job stands in its lane; null when it is not ready. A walk along the lane's index, of bounded length. */
export async function readWaitingPlace(
  db: ReadPool,
  tenantId: number,
  jobId: string,
): Promise<WaitingPlace | null> {
  const { rows } = await db.query<{
    lane_id: number;
    ready_key: string;
    ready_at_ms: number;
    bytes: number;
    attempt: number;
    ahead: number;
  }>({
    name: "read_waiting_place",
    text: `
      select j.lane_id, j.ready_key, ${toMs("j.ready_at")} as ready_at_ms, j.attempt,
        octet_length(j.payload) + j.checkpoint_bytes as bytes,
        (select count(*)::integer from (
          select from job a where a.lane_id = j.lane_id and a.ready_key < j.ready_key and a.ready_key > l.low_key
            and a.state = ${JobState.Ready} order by a.ready_key desc limit ${countedAheadMax + 1}) before) as ahead
      from job j join lane l on ${isByKey("l.lane_id", "j.lane_id")}
      where j.id = $1 and j.tenant_id = $2 and j.state = ${JobState.Ready}`,
    values: [jobId, tenantId],
  });
  const row = rows[0];
  if (!row) return null;
  return {
    laneId: row.lane_id,
    readyKey: Number(row.ready_key),
    readyAtMs: row.ready_at_ms,
    bytes: row.bytes,
    attempt: row.attempt,
    jobsAhead: Math.min(row.ahead, countedAheadMax),
    isAtLeast: row.ahead > countedAheadMax,
  };
}

/** Names of workers by session, live or ended; sessions of other tenants are missing. */
export async function readWorkerNames(
  db: ReadPool,
  tenantId: number,
  sessionIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ session_id: string; worker_name: string }>({
    name: "read_worker_names",
    text: "select session_id, worker_name from session where session_id = any($1) and tenant_id = $2",
    values: [uuidArray(sessionIds), tenantId],
  });
  return new Map(rows.map((row) => [row.session_id, row.worker_name]));
}

const waitedJobsMax = 20;

// Children are counted among what a parent waits for; both walks go along an index and end early.
const waitedText = `
with open as (
  (select e.job_id, false as is_child
   from run_edge e join run_node d on ${isByKey("d.job_id", "e.job_id")} and d.ended_as is null
   where e.dependent_id = $1 order by e.job_id limit ${waitedJobsMax})
  union all
  (select c.job_id, true from run_node c where c.run_id = $1 and c.is_child and c.ended_as is null
   order by c.job_id limit ${waitedJobsMax})
)
select n.waits_for, o.job_id, o.is_child, j.state, l.kind
from run_node n
left join (open o join job j on ${isByKey("j.id", "o.job_id")}
  join lane l on ${isByKey("l.lane_id", "j.lane_id")}) on true
where n.job_id = $1
limit ${waitedJobsMax}`;

/** What a blocked job waits for: the first that have not ended, and how many there are. */
export async function readWaitedFor(db: ReadPool, jobId: string): Promise<WaitedFor> {
  const { rows } = await db.query<{
    waits_for: number;
    job_id: string | null;
    is_child: boolean;
    state: JobState;
    kind: string;
  }>({ name: "read_waited_for", text: waitedText, values: [jobId] });
  return {
    total: rows[0]?.waits_for ?? 0,
    jobs: rows.flatMap(({ job_id: id, is_child: isChild, state, kind }) =>
      id === null ? [] : [{ jobId: id, kind, state, isChild }],
    ),
  };
}
