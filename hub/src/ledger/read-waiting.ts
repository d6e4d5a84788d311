import { JobState } from "../domain/job-state.js";
import type { ReadPool } from "./read-pool.js";
import { toMs, uuidArray } from "./sql-text.js";

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
      from job j join lane l on l.lane_id = j.lane_id
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
