// The statement that suspends jobs until a signal comes. The head of the partition is locked first, the row that
// publishing locks: a signal that was stored before is seen here, and whoever publishes after it finds the job waiting
// (docs/adr/0028). So no signal between a job's last look and its waiting is missed. What the locked head says counts:
// a round of waking may have changed it while this waited.
import { JobEventType, JobState } from "../domain/job-state.js";
import { waitFingerprint } from "../domain/wait.js";
import { distinctItems, leaseKey } from "./distinct-items.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { isByKey, isByKeyOf, linkHistory, numberArray, toMs, writePage } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface WaitItem {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint;
  readonly channelId: number;
  readonly partition: number;
  readonly afterSequence: number;
  /** null: as long as it takes. */
  readonly timeoutMs: number | null;
}

export type WaitResult =
  /** The lease has ended; `timeoutAtMs` is when the wait does, if it has not before. */
  | { readonly type: "suspended"; readonly timeoutAtMs: number | null; readonly isRepeated: boolean }
  /** The lease stands: there is a signal already. */
  | { readonly type: "signalled"; readonly firstSequence: number; readonly lastSequence: number }
  /** The lease stands: this very wait was over before. */
  | { readonly type: "timed_out" }
  /** The lease stands, but the job is being cancelled. */
  | { readonly type: "cancelling" }
  | { readonly type: "stale" };

const isTimedOut = `exists (select from wait_timeout t
    where ${isByKey("t.job_id", "i.id")} and ${isByKey("t.channel_id", "i.channel_id")}
      and ${isByKey("t.partition", "i.partition")} and ${isByKey("t.after_sequence", "i.after_sequence")})`;

const inputColumns = `id, session_id, fencing_token, channel_id, partition, after_sequence, fingerprint`;
const inputArrays = (first: number) =>
  ["uuid", "uuid", "bigint", "bigint", "smallint", "bigint", "bigint"]
    .map((type, at) => `$${first + at}::${type}[]`)
    .join(", ");

// Waiting costs no attempt, as giving a lease back before it began costs none: the attempt goes on when the job does.
const waitText = `
with input as (
  select * from unnest(${inputArrays(3)}, $10::float8[]) as i (${inputColumns}, timeout_ms)
), head as materialized (
  select p.channel_id, p.partition, p.last_sequence, p.is_awaited
  from (select distinct channel_id, partition from input) i
  join channel_partition p on ${isByKeyOf("p", "i", "channel_id", "partition")}
  order by i.channel_id, i.partition for update of p
), parked as (
  update job j set
      state = ${JobState.Parked}, attempt = j.attempt - 1, fencing_token = j.fencing_token + 1, session_id = null,
      delivery = null, has_waited = true, outcome_token = i.fencing_token, outcome_fingerprint = i.fingerprint, ${linkHistory}
  from head h join input i on i.channel_id = h.channel_id and i.partition = h.partition
  where ${isByKey("j.id", "i.id")} and j.fencing_token = i.fencing_token and j.session_id = i.session_id
    and j.state = ${JobState.Leased} and j.cancel_by is null and h.last_sequence <= i.after_sequence
    and not ${isTimedOut}
  returning j.id, j.tenant_id, j.state, j.revision, j.attempt, j.fencing_token, j.prior_at, j.prior_writer,
    j.prior_batch, i.channel_id, i.partition, i.after_sequence, now() + i.timeout_ms * interval '1 ms' as timeout_at,
    ${JobEventType.Suspended}::smallint as event, i.session_id as event_session, null::text as reason
), waits as (
  insert into suspended (job_id, tenant_id, channel_id, partition, after_sequence, timeout_at)
  select id, tenant_id, channel_id, partition, after_sequence, timeout_at from parked
), timers as (
  insert into timer (purpose, due_at, job_id, guard)
  select 5, timeout_at, id, revision from parked where timeout_at is not null
), heads as (
  update channel_partition p set is_awaited = true
  from (select distinct h.channel_id, h.partition
    from parked k join head h on h.channel_id = k.channel_id and h.partition = k.partition where not h.is_awaited) i
  where ${isByKeyOf("p", "i", "channel_id", "partition")}
), ${writePage("parked")}
select id, ${toMs("timeout_at")} as timeout_at_ms from parked`;

const judgeText = `
select i.ordinal, j.state = ${JobState.Leased} and j.session_id = i.session_id and j.fencing_token = i.fencing_token
    as is_current, j.cancel_by is not null as is_cancelling, ${isTimedOut} as is_timed_out,
  j.outcome_token = i.fencing_token and j.outcome_fingerprint = i.fingerprint as is_repeated,
  p.first_sequence, p.last_sequence, ${toMs("s.timeout_at")} as timeout_at_ms
from unnest(${inputArrays(1)}) with ordinality as i (${inputColumns}, ordinal)
join job j on ${isByKey("j.id", "i.id")}
join channel_partition p on ${isByKeyOf("p", "i", "channel_id", "partition")}
left join suspended s on ${isByKey("s.job_id", "i.id")}`;

/**
 * Suspends jobs under their fencing tokens (D4), unless what they wait for is there already. That is looked at first: a
 * job that was woken asks again, and its answer needs no write.
 */
export const waitForSignals: BatchStatement<WaitItem, WaitResult> = {
  name: "wait_for_signals",
  itemsMax: 512,
  bytesMax: 1 << 20,
  bytesOf: () => 96,
  run: async (on, items) => {
    const results = await judge(on, items);
    const waiting = [...distinctItems(items, leaseKey).values()].filter((item) => results.get(item) === null);
    const parked = waiting.length > 0 ? await park(on, waiting) : new Map<WaitItem, WaitResult>();
    const isParked = parked.size > 0;
    // The same wait twice in a batch, or something that changed since the look.
    const left = items.filter((item) => results.get(item) === null && !parked.has(item));
    const judged = left.length > 0 ? await judge(on, left) : results;
    return {
      results: items.map((item) => {
        const result = parked.get(item) ?? judged.get(item) ?? results.get(item);
        if (!result) throw new Error("A job that may wait was left alone.");
        return result;
      }),
      wrotePage: isParked,
    };
  },
};

/** Those that it suspended. */
async function park(on: BatchContext, items: readonly WaitItem[]): Promise<Map<WaitItem, WaitResult>> {
  const { rows } = await on.connection.query<{ id: string; timeout_at_ms: number | null }>({
    name: "wait_for_signals",
    text: waitText,
    values: [on.writerId, on.batch, ...inputValues(items), numberArray(items.map((item) => item.timeoutMs))],
  });
  const timeouts = new Map(rows.map((row) => [row.id, row.timeout_at_ms]));
  return new Map(
    items.flatMap((item): [WaitItem, WaitResult][] => {
      const timeoutAtMs = timeouts.get(item.jobId);
      return timeoutAtMs === undefined ? [] : [[item, { type: "suspended", timeoutAtMs, isRepeated: false }]];
    }),
  );
}

function inputValues(items: readonly WaitItem[]): unknown[] {
  return [
    uuidArray(items.map((item) => item.jobId)),
    uuidArray(items.map((item) => item.sessionId)),
    numberArray(items.map((item) => item.fencingToken)),
    numberArray(items.map((item) => item.channelId)),
    numberArray(items.map((item) => item.partition)),
    numberArray(items.map((item) => item.afterSequence)),
    numberArray(items.map((item) => waitFingerprint(item))),
  ];
}

/** What to answer; null: nothing speaks against suspending the job. */
async function judge(
  on: BatchContext,
  items: readonly WaitItem[],
): Promise<ReadonlyMap<WaitItem, WaitResult | null>> {
  const { rows } = await on.connection.query<{
    ordinal: string;
    is_current: boolean | null;
    is_cancelling: boolean;
    is_timed_out: boolean;
    is_repeated: boolean | null;
    first_sequence: string;
    last_sequence: string;
    timeout_at_ms: number | null;
  }>({ name: "judge_waits", text: judgeText, values: inputValues(items) });
  const byItem = new Map(rows.map((row) => [items[Number(row.ordinal) - 1], row]));
  const answerTo = (item: WaitItem): WaitResult | null => {
    const row = byItem.get(item);
    if (!row?.is_current) {
      if (!row?.is_repeated) return { type: "stale" };
      return { type: "suspended", timeoutAtMs: row.timeout_at_ms, isRepeated: true };
    }
    if (row.is_cancelling) return { type: "cancelling" };
    if (row.is_timed_out) return { type: "timed_out" };
    const lastSequence = Number(row.last_sequence);
    if (lastSequence <= item.afterSequence) return null;
    return { type: "signalled", firstSequence: Number(row.first_sequence), lastSequence };
  };
  return new Map(items.map((item) => [item, answerTo(item)]));
}
