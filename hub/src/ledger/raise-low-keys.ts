import { JobState } from "../domain/job-state.js";
import type { ReadPool } from "./read-pool.js";
import { numberArray } from "./sql-text.js";

/** Jobs of a lane that one look walks over at most; the next one goes on. */
const walkedJobsMax = 250_000;

export interface RaisedLowKey {
  readonly laneId: number;
  /** No job of the lane up to this place waits; it is written only when it passes jobs. */
  readonly lowKey: number;
  /** The first job that waits after it, if the look came so far. */
  readonly oldestReadyKey: number | null;
}

const own =
  "from job j where j.lane_id = l.lane_id and j.ready_key > l.low_key and j.ready_key <= $2::bigint";

// `offset 0` keeps the first part a query of its own, so that the second walk happens only if it found nothing. A low
// key with nothing to pass is left as it is: lanes that sessions are hungry for and nothing comes into cost no write.
const raiseText = `
with found as materialized (
  select l.lane_id, f.oldest, (select true ${own} limit 1) as passes_jobs, greatest(l.low_key, coalesce(f.oldest - 1,
    (select j.ready_key ${own} order by j.ready_key offset ${walkedJobsMax - 1} limit 1), $2::bigint)) as low_key
  from lane l
  cross join lateral (
    select (select w.ready_key
      from (select j.ready_key, j.state ${own} order by j.ready_key limit ${walkedJobsMax}) w
      where w.state = ${JobState.Ready} order by w.ready_key limit 1) as oldest offset 0
  ) f
  where l.lane_id = any($1::integer[])
), raised as (
  update lane l set low_key = f.low_key from found f 
  where l.lane_id = f.lane_id and l.low_key < f.low_key and f.passes_jobs
)
select lane_id, low_key, oldest from found`;

/**
 * Raises low keys to the first job that still waits, or to `throughKey`, as the ledger itself knows it: whichever hub
 * a job was submitted at, and whoever has its ref, no low key passes it.
 */
export async function raiseLowKeys(
  db: ReadPool,
  laneIds: readonly number[],
  throughKey: number,
): Promise<RaisedLowKey[]> {
  const { rows } = await db.query<{ lane_id: number; low_key: string; oldest: string | null }>({
    name: "raise_low_keys",
    text: raiseText,
    values: [numberArray(laneIds), throughKey],
  });
  return rows.map((row) => ({
    laneId: row.lane_id,
    lowKey: Number(row.low_key),
    oldestReadyKey: row.oldest === null ? null : Number(row.oldest),
  }));
}
