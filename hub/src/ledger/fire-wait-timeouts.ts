import { JobEventType, JobState } from "../domain/job-state.js";
import { WakeReason, type Woken } from "../domain/wait.js";
import { type FireLimit, takeDue } from "./fire-timers.js";
import type { BatchStatement } from "./group-commit.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import { isByKey, linkHistory, retryLane, writePage } from "./sql-text.js";

// A signal that is published in the same moment has the job's row or has not: one of the two wakes it. That the wait is
// over is kept, so that the job is told the same whenever it asks.
const fireText = `
with ${takeDue(5, "$3")}, numbered as (
  select job_id, guard, $4::bigint + row_number() over (order by due_at, job_id) as ready_key from due
), woken as (
  update job j set
      state = ${JobState.Ready}, ready_at = now(), ready_key = n.ready_key, lane_id = ${retryLane}, ${linkHistory}
  from numbered n
  where ${isByKey("j.id", "n.job_id")} and j.state = ${JobState.Parked} and j.revision = n.guard
  returning j.*, ${JobEventType.Ready}::smallint as event, null::uuid as event_session,
    '${WakeReason.Timeout}'::text as reason
), waits as (
  delete from suspended s using woken w where ${isByKey("s.job_id", "w.id")}
  returning s.job_id, s.channel_id, s.partition, s.after_sequence
), kept as (
  insert into wait_timeout (job_id, channel_id, partition, after_sequence)
  select job_id, channel_id, partition, after_sequence from waits on conflict do nothing
), ${writePage("woken")}
select (select count(*)::integer from due) as taken, ${refColumns}
from (select count(*) from due) d left join woken on true order by ready_key`;

/** Jobs whose waits for a signal are over become ready. */
export const fireWaitTimeouts: BatchStatement<FireLimit, Woken> = {
  name: "fire_wait_timeouts",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, [limit = 0]) => {
    const { rows } = await on.connection.query<RefRow & { taken: number }>({
      name: "fire_wait_timeouts",
      text: fireText,
      values: [on.writerId, on.batch, limit, on.reserveReadyKeys(limit) - 1],
    });
    const refs = rows.filter((row) => row.id !== null).map(toRef);
    const isMore = (rows[0]?.taken ?? 0) === limit;
    return { results: [{ refs, reason: WakeReason.Timeout, isMore }], wrotePage: refs.length > 0 };
  },
};
