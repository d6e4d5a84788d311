// What wakes jobs that wait for a signal. It is part of the transaction that publishes, after the signals are in; and
// where one transaction may not wake all, rounds of it go on.
//
// Invariants
//  1. The heads of the partitions are locked by a statement before: so whoever is suspended there is seen here, and
//     nobody is suspended there while this runs.
//  2. Jobs are not waited for: one that is locked by somebody else (a cancel, its timeout) is left to the next round.
//  3. A job is woken by the one statement that takes its row of `suspended` away.
import type pg from "pg";
import { JobEventType, JobState } from "../domain/job-state.js";
import { WakeReason, type Woken } from "../domain/wait.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import type { ReadPool } from "./read-pool.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import { isByKey, isByKeyOf, linkHistory, numberArray, retryLane, writePage } from "./sql-text.js";

/** Jobs that one transaction wakes: bounds how long a publish that thousands wait for keeps its head locked. */
export const wokenPerTransactionMax = 1_000;

/** Partitions that one round goes on with. */
const wakingPartitionsMax = 200;

export interface PartitionName {
  readonly channelId: number;
  readonly partition: number;
}

const lockText = `
select p.channel_id from unnest($1::bigint[], $2::smallint[]) as i (channel_id, partition)
join channel_partition p on ${isByKeyOf("p", "i", "channel_id", "partition")}
order by i.channel_id, i.partition for update of p`;

const isWaitedIn = isByKeyOf("s", "h", "channel_id", "partition");
/** More wait in the partition `h`, of those that `which` names, than were taken of it. */
const areLeft = (which: string) => `
  (select count(*) from (select from suspended s where ${isWaitedIn} ${which} limit ${wokenPerTransactionMax + 1}) w)
    > (select count(*) from taken t where t.channel_id = h.channel_id and t.partition = h.partition)`;

const wakeText = `
with head as materialized (
  select p.channel_id, p.partition, p.last_sequence
  from unnest($3::bigint[], $4::smallint[]) as i (channel_id, partition)
  join channel_partition p on ${isByKeyOf("p", "i", "channel_id", "partition")}
    and p.is_awaited
), taken as materialized (
  select s.job_id, s.timeout_at, s.channel_id, s.partition, 5::smallint as timeout_purpose
  from head h
  join suspended s on ${isWaitedIn} and s.after_sequence < h.last_sequence
  join job j on ${isByKey("j.id", "s.job_id")} and j.state = ${JobState.Parked}
  limit ${wokenPerTransactionMax} for update of s, j skip locked
), numbered as (
  select job_id, $5::bigint + row_number() over () as ready_key from taken
), woken as (
  update job j set
      state = ${JobState.Ready}, ready_at = now(), ready_key = n.ready_key, lane_id = ${retryLane}, ${linkHistory}
  from numbered n where ${isByKey("j.id", "n.job_id")}
  returning j.*, ${JobEventType.Ready}::smallint as event, null::uuid as event_session,
    '${WakeReason.Signal}'::text as reason
), waits as (
  delete from suspended s using taken t where ${isByKey("s.job_id", "t.job_id")}
), timers as (
  delete from timer r using taken t
  where ${isByKey("r.purpose", "t.timeout_purpose")} and ${isByKey("r.due_at", "t.timeout_at")}
    and ${isByKey("r.job_id", "t.job_id")}
), heads as (
  update channel_partition p set is_awaited = h.is_awaited, is_waking = h.is_waking
  from (
    select h.channel_id, h.partition, ${areLeft("")} as is_awaited,
      ${areLeft("and s.after_sequence < h.last_sequence")} as is_waking
    from head h) h
  where ${isByKeyOf("p", "h", "channel_id", "partition")}
  returning p.is_waking
), ${writePage("woken")}
select (select coalesce(bool_or(is_waking), false) from heads) as is_more, ${refColumns}
from (select 1) one left join woken on true order by ready_key`;

/** Locks the heads of partitions, in their order. */
export function lockHeads(partitions: readonly PartitionName[]): pg.QueryConfig {
  return { name: "lock_heads", text: lockText, values: partitionValues(partitions) };
}

/** Wakes who waits in these partitions for what they hold. Their heads must be locked. */
export function wakeSuspended(on: BatchContext, partitions: readonly PartitionName[]): pg.QueryConfig {
  const firstKey = on.reserveReadyKeys(wokenPerTransactionMax);
  const values = [on.writerId, on.batch, ...partitionValues(partitions), firstKey - 1];
  return { name: "wake_suspended", text: wakeText, values };
}

export function toWoken(answer: pg.QueryResult | undefined): Woken {
  const rows = (answer?.rows ?? []) as (Partial<RefRow> & { is_more: boolean })[];
  return {
    refs: rows.filter((row): row is RefRow & { is_more: boolean } => row.id !== null).map(toRef),
    reason: WakeReason.Signal,
    isMore: rows[0]?.is_more ?? false,
  };
}

function partitionValues(partitions: readonly PartitionName[]): unknown[] {
  return [
    numberArray(partitions.map(({ channelId }) => channelId)),
    numberArray(partitions.map(({ partition }) => partition)),
  ];
}

/** Partitions whose last publish left jobs that it should have woken; usually none. */
export async function readWaking(db: ReadPool): Promise<PartitionName[]> {
  const { rows } = await db.query<{ channel_id: string; partition: number }>({
    name: "read_waking",
    text: `select channel_id, partition from channel_partition where is_waking
      order by channel_id, partition limit ${wakingPartitionsMax}`,
  });
  return rows.map((row) => ({ channelId: Number(row.channel_id), partition: row.partition }));
}

/** One round for partitions that were left: those that several hubs go on with are woken once. */
export const wakeOn: BatchStatement<readonly PartitionName[], Woken> = {
  name: "wake_suspended",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: (partitions) => 16 * partitions.length,
  run: async (on, [partitions = []]) => {
    const [, answer] = await on.connection.together([lockHeads(partitions), wakeSuspended(on, partitions)]);
    const woken = toWoken(answer);
    return { results: [woken], wrotePage: woken.refs.length > 0 };
  },
};
