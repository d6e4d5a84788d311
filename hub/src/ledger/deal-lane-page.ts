import { JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { ReadPool } from "./read-pool.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";

/** What was dealt and never claimed is dealt again after this long: the hub that had it may be gone. */
const roundLength = "interval '30 s'";
/** An empty look is noted only when it spared later ones a walk over so many microseconds of places. */
const notedStretch = 10_000_000;

const isOver = `$2::bigint = 0 and l.deal_began_at < now() - ${roundLength}`;
const start = `case when ${isOver} then l.low_key else greatest(l.low_key, l.dealt_key, $2::bigint) end`;
const own = `from job j where j.lane_id = l.lane_id and j.ready_key <= $3::bigint and j.ready_key >`;

// Locking a row is a write: a look that finds nothing, and has nothing to note, does without.
const dealText = `
with round as materialized (
  select l.low_key, l.dealt_key, ${isOver} as is_new, ${start} as start from lane l
  where l.lane_id = $1 and (select true ${own} l.low_key limit 1)
    and (${isOver} or $3::bigint - l.dealt_key > ${notedStretch}
      or (select true ${own} ${start} and j.state = ${JobState.Ready} limit 1))
  for update
), page as materialized (
  select p.* from round r cross join lateral (
    select ${refColumns} from job
    where lane_id = $1 and state = ${JobState.Ready} and ready_key <= $3::bigint and ready_key > r.start
    order by ready_key limit $4::integer
  ) p
), dealt as (
  select case when count(*) < $4::integer then $3::bigint else max(ready_key) end as through, count(*) as jobs
  from page
), noted as (
  update lane l set
      dealt_key = case when r.is_new then d.through else greatest(l.dealt_key, d.through) end,
      deal_began_at = case when r.is_new then now() else l.deal_began_at end
  from round r, dealt d
  where l.lane_id = $1 and (d.jobs > 0 or r.is_new or d.through - r.dealt_key > ${notedStretch})
)
select * from page order by ready_key`;

/**
 * Ready jobs of a lane between two places, in order, that were dealt to no hub in this round; `afterKey` 0 begins a
 * new round when the last one is over. One hub at a time deals from a lane.
 */
export async function dealLanePage(
  db: ReadPool,
  laneId: number,
  afterKey: number,
  throughKey: number,
  limit: number,
): Promise<Ref[]> {
  const { rows } = await db.query<RefRow>({
    name: "deal_lane_page",
    text: dealText,
    values: [laneId, afterKey, throughKey, limit],
  });
  return rows.map(toRef);
}
