import { Priority } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { BatchStatement } from "./group-commit.js";
import { promisedNow, promiseMs } from "./preempt.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import { isByKey, isByKeyOf, linkHistory, retryLane, writePage } from "./sql-text.js";

/** How many jobs of a gate to let back into their lanes, the best score first. */
export interface ReopenItem {
  readonly gateId: number;
  readonly jobsMax: number;
}

// A critical job is promised the seat that it returns for, until it claims it or the promise lapses. Free seats bound what is
// promised: one that a victim gave up for it is promised already (preempt.ts), and what nobody came for is not added up.
const promisePart = `
), returning_critical as (
  select count(*)::integer as jobs from readied r join lane l on ${isByKey("l.lane_id", "r.lane_id")}
  where l.priority = ${Priority.Critical} having count(*) > 0
), free as (
  select (settings ->> 'seatsMax')::integer - jobs as seats from meter_level
  where meter_id = $3 and (settings ->> 'isPreemptive')::boolean and exists (select from returning_critical)
), promise as (
  update meter m set
      promised = greatest(${promisedNow}, least(${promisedNow} + c.jobs, f.seats)),
      promised_until = greatest(m.promised_until, now() + ${promiseMs} * interval '1 ms')
  from returning_critical c cross join free f where m.meter_id = $3`;

// Places in the retry lanes rise in score order, so the jobs are dispatched in it. skip locked lets hubs share a gate.
const reopenText = `
with found as materialized (
  select gate_id, score, job_id from parked where gate_id = $3
  order by score desc, job_id limit $4 for update skip locked
), due as (
  delete from parked p using found f
  where ${isByKeyOf("p", "f", "gate_id", "score", "job_id")}
  returning p.job_id, p.score
), numbered as (
  select job_id, $5::bigint + row_number() over (order by score desc, job_id) as ready_key from due
), readied as (
  update job j set
      state = ${JobState.Ready}, ready_key = n.ready_key, lane_id = ${retryLane}, ${linkHistory}
  from numbered n
  where ${isByKey("j.id", "n.job_id")} and j.state = ${JobState.Parked}
  returning j.*, ${JobEventType.Ready}::smallint as event, null::uuid as event_session, 'GATE_OPEN'::text as reason
${promisePart}
), ${writePage("readied")}
select ${refColumns} from readied order by ready_key`;

/** Parked jobs of one gate become ready, in score order; to critical ones preemptive seats are promised. */
export const reopenParked: BatchStatement<ReopenItem, readonly Ref[]> = {
  name: "reopen_parked",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, [item]) => {
    const { gateId, jobsMax } = item as ReopenItem;
    const { rows } = await on.connection.query<RefRow>({
      name: "reopen_parked",
      text: reopenText,
      values: [on.writerId, on.batch, gateId, jobsMax, on.reserveReadyKeys(jobsMax) - 1],
    });
    return { results: [rows.map(toRef)], wrotePage: rows.length > 0 };
  },
};
