// The statement that stores signals: it compares each producer's epoch and newest number, asks each partition
// whether the bytes fit, and only then gives sequences (D11): what is refused leaves no hole.
//
// Heads and producers are locked in order of their keys, so that hubs that publish to the same channels wait for
// each other and never in a circle; a head stays locked until the commit, so pages become visible in order.
//
// Whether a lease that signals are published under is still current is judged last, on the locked job: it may have ended
// while the statement waited for a head. Jobs are locked after heads, as by those who suspend them.
//
// Who waits for a signal is woken in the same transaction (wake-suspended.ts). Only a statement that began after the
// head was locked sees everybody who was suspended before: so a plain publish leaves partitions that are awaited
// alone, and what it left is published once more, with the locks taken first. Where nobody waits that costs nothing.
import type pg from "pg";
import { JobState } from "../domain/job-state.js";
import type { Woken } from "../domain/wait.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { isByKey, isByKeyOf, numberArray, packBytes, textArray } from "./sql-text.js";
import { lockHeads, toWoken, wakeSuspended } from "./wake-suspended.js";

/** Signals of one message of a producer that go to one partition. */
export interface SignalPart {
  readonly partition: number;
  /** The producer's numbers, rising. */
  readonly numbers: readonly number[];
  /** One record each, in order. */
  readonly body: Uint8Array;
}

export interface PublishItem {
  readonly channelId: number;
  readonly producerId: number;
  readonly epoch: number;
  /** The producer's newest number before this item: the chain that a lost item would break. */
  readonly previousNumber: number;
  readonly lastNumber: number;
  readonly parts: readonly SignalPart[];
  /** The lease whose token must be current (D4). */
  readonly lease: { readonly jobId: string; readonly fencingToken: bigint } | null;
}

export type PublishResult =
  /** First sequence of each part, in order. */
  | { readonly type: "stored"; readonly firstSequences: readonly number[]; readonly atMs: number }
  /** A newer stream of this producer opened. */
  | { readonly type: "superseded" }
  /** What came before this item is not stored, or this item is (a repeated try). */
  | { readonly type: "out_of_order"; readonly lastNumber: number }
  | { readonly type: "quota_exceeded" }
  | { readonly type: "stale_fence" };

const isLeased = "(c.job_id is null or c.producer_id in (select producer_id from leased))";

// Chains are what one producer published in this batch, runs their parts, merged by partition.
const publishText = `
with chain as materialized (
  select i.producer_id, i.last_number, i.job_id, i.fencing_token, p.last_number as stored_number,
    p.epoch = i.epoch as is_current, p.last_number = i.previous_number as is_next
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::uuid[], $6::bigint[])
    as i (producer_id, epoch, previous_number, last_number, job_id, fencing_token)
  join signal_producer p on ${isByKey("p.producer_id", "i.producer_id")}
  order by i.producer_id for update of p
), run as (
  select * from unnest($7::bigint[], $8::bigint[], $9::smallint[], $10::integer[], $11::bigint[], $12::bigint[],
    $13::text[], $14::integer[], $15::integer[]) with ordinality
    as i (producer_id, channel_id, partition, signals, first_number, last_number, numbers, body_offset, body_length, n)
), head as materialized (
  select p.channel_id, p.partition, p.last_sequence, p.held_bytes, p.max_bytes, p.is_awaited
  from (select distinct channel_id, partition from run) i
  join channel_partition p on ${isByKeyOf("p", "i", "channel_id", "partition")}
  order by i.channel_id, i.partition for update of p
), leased as materialized (
  select c.producer_id from chain c cross join (select count(*) from head) locked
  join job j on ${isByKey("j.id", "c.job_id")}
  where j.fencing_token = c.fencing_token and j.state = ${JobState.Leased}
  order by j.id for share of j
), asked as (
  select r.*, h.last_sequence, h.is_awaited,
    h.held_bytes + sum(r.body_length) over (partition by r.channel_id, r.partition) <= h.max_bytes as fits
  from run r
  join chain c on c.producer_id = r.producer_id and c.is_current and ${isLeased} and c.is_next
  join head h on h.channel_id = r.channel_id and h.partition = r.partition
), judged as (
  select *, bool_and(fits and ($17 or not is_awaited)) over (partition by producer_id) as is_admitted from asked
), placed as materialized (
  select *, last_sequence + sum(signals) over (partition by channel_id, partition order by n) as placed_through
  from judged where is_admitted
), pages as (
  insert into signal_page (channel_id, partition, first_sequence, last_sequence, at, producer_id, first_number,
    last_number, numbers, body)
  select channel_id, partition, placed_through - signals + 1, placed_through, now(), producer_id, first_number,
    last_number, numbers::bigint[], substring($16::bytea from body_offset + 1 for body_length)
  from placed
), heads as (
  update channel_partition p set last_sequence = i.placed_through, held_bytes = p.held_bytes + i.bytes
  from (select channel_id, partition, max(placed_through) as placed_through, sum(body_length) as bytes
    from placed group by channel_id, partition) i
  where ${isByKeyOf("p", "i", "channel_id", "partition")}
), producers as (
  update signal_producer p set last_number = c.last_number, used_at = now()
  from chain c where ${isByKey("p.producer_id", "c.producer_id")} and c.producer_id in (select producer_id from placed)
)
select c.producer_id, c.stored_number, c.is_current, ${isLeased} as is_leased, c.is_next,
  p.n, p.placed_through - p.signals + 1 as first_sequence, date_part('epoch', now()) * 1000 as at_ms,
  (select bool_or(is_awaited) from head) as is_awaited
from chain c left join placed p on p.producer_id = c.producer_id`;

const lockProducersText = `
select producer_id from signal_producer where producer_id = any($1) order by producer_id for update`;

interface PublishRow {
  readonly producer_id: string;
  readonly stored_number: string;
  readonly is_current: boolean;
  readonly is_leased: boolean;
  readonly is_next: boolean;
  readonly n: string | null;
  readonly first_sequence: string | null;
  readonly at_ms: number;
  /** Somebody waits in one of the partitions of the statement. */
  readonly is_awaited: boolean | null;
}

/** What one producer published in a batch: items that follow each other, or else are tried apart. */
interface Chain {
  readonly items: PublishItem[];
  readonly head: PublishItem;
  lastNumber: number;
}

interface Run {
  readonly chain: Chain;
  readonly partition: number;
  readonly bodies: Uint8Array[];
  readonly numbers: number[];
}

export const publishSignals: BatchStatement<PublishItem, PublishResult> = {
  name: "publish_signals",
  itemsMax: 2_000,
  bytesMax: 4 << 20,
  bytesOf: (item) => item.parts.reduce((sum, part) => sum + part.body.length, 64),
  run: async (on, items) => {
    const { chains, broken } = toChains(items);
    const runs = toRuns(chains);
    const { rows } = await on.connection.query<PublishRow>(publish(chains, runs, false));
    const results = new Map<PublishItem, PublishResult>();
    for (const item of broken) results.set(item, { type: "out_of_order", lastNumber: item.previousNumber });
    const left = chains.filter((chain) => !settle(chain, runs, rows, results));
    const woken = left.length > 0 ? await publishAwaited(on, left, results) : null;
    return {
      results: items.map((item) => results.get(item) as PublishResult),
      wrotePage: woken !== null && woken.refs.length > 0,
      ...(woken && { woken }),
    };
  },
};

/** One chain for each producer: of items that do not follow each other, those after the hole are refused. */
function toChains(items: readonly PublishItem[]): { chains: Chain[]; broken: PublishItem[] } {
  const chains = new Map<number, Chain>();
  const broken: PublishItem[] = [];
  // A batch that runs again may hold its items in another order than they were made in.
  for (const item of items.toSorted((a, b) => a.epoch - b.epoch || a.previousNumber - b.previousNumber)) {
    const chain = chains.get(item.producerId);
    if (!chain) {
      chains.set(item.producerId, { items: [item], head: item, lastNumber: item.lastNumber });
    } else if (chain.lastNumber === item.previousNumber && chain.head.epoch === item.epoch) {
      chain.items.push(item);
      chain.lastNumber = item.lastNumber;
    } else {
      broken.push(item);
    }
  }
  return { chains: [...chains.values()], broken };
}

function toRuns(chains: readonly Chain[]): Run[] {
  const runs: Run[] = [];
  for (const chain of chains) {
    const byPartition = new Map<number, Run>();
    for (const part of chain.items.flatMap((item) => item.parts)) {
      let run = byPartition.get(part.partition);
      if (!run) {
        run = { chain, partition: part.partition, bodies: [], numbers: [] };
        byPartition.set(part.partition, run);
        runs.push(run);
      }
      run.bodies.push(part.body);
      for (const number of part.numbers) run.numbers.push(number);
    }
  }
  return runs;
}

/** Publishes where somebody waits, and wakes them: one transaction. */
async function publishAwaited(
  on: BatchContext,
  chains: readonly Chain[],
  results: Map<PublishItem, PublishResult>,
): Promise<Woken> {
  const runs = toRuns(chains);
  const byPlace = new Map(
    runs.map(({ chain, partition }) => {
      const { channelId } = chain.head;
      return [`${channelId}/${partition}`, { channelId, partition }];
    }),
  );
  const partitions = [...byPlace.values()];
  const producers = numberArray(chains.map(({ head }) => head.producerId));
  const [, , published, woken] = await on.connection.together([
    { name: "lock_producers", text: lockProducersText, values: [producers] },
    lockHeads(partitions),
    publish(chains, runs, true),
    wakeSuspended(on, partitions),
  ]);
  for (const chain of chains) settle(chain, runs, (published?.rows ?? []) as PublishRow[], results, true);
  return toWoken(woken);
}

function publish(chains: readonly Chain[], runs: readonly Run[], isWaking: boolean): pg.QueryConfig {
  const heads = chains.map(({ head }) => head);
  const bodies = packBytes(
    runs.map(({ bodies }) => (bodies.length === 1 ? (bodies[0] as Uint8Array) : Buffer.concat(bodies))),
  );
  return {
    name: "publish_signals",
    text: publishText,
    values: [
      numberArray(heads.map((head) => head.producerId)),
      numberArray(heads.map((head) => head.epoch)),
      numberArray(heads.map((head) => head.previousNumber)),
      numberArray(chains.map((chain) => chain.lastNumber)),
      textArray(heads.map((head) => head.lease?.jobId ?? null)),
      numberArray(heads.map((head) => head.lease?.fencingToken ?? null)),
      numberArray(runs.map((run) => run.chain.head.producerId)),
      numberArray(runs.map((run) => run.chain.head.channelId)),
      numberArray(runs.map((run) => run.partition)),
      numberArray(runs.map((run) => run.numbers.length)),
      numberArray(runs.map((run) => run.numbers[0] as number)),
      numberArray(runs.map((run) => run.numbers.at(-1) as number)),
      textArray(runs.map((run) => (isContiguous(run.numbers) ? null : numberArray(run.numbers)))),
      bodies.offsets,
      bodies.lengths,
      bodies.blob,
      isWaking,
    ],
  };
}

function isContiguous(numbers: readonly number[]): boolean {
  return (numbers.at(-1) as number) - (numbers[0] as number) === numbers.length - 1;
}

/** False: it was left alone, because somebody waits for it or somebody's neighbour. */
function settle(
  chain: Chain,
  runs: readonly Run[],
  rows: readonly PublishRow[],
  results: Map<PublishItem, PublishResult>,
  isWaking = false,
): boolean {
  const own = rows.filter((row) => Number(row.producer_id) === chain.head.producerId);
  const refusal = refusalOf(own[0]);
  if (refusal?.type === "quota_exceeded" && own[0]?.is_awaited && !isWaking) return false;
  if (refusal) {
    for (const item of chain.items) results.set(item, refusal);
    return true;
  }
  const next = new Map<number, number>();
  for (const row of own) {
    const run = runs[Number(row.n) - 1] as Run;
    next.set(run.partition, Number(row.first_sequence));
  }
  for (const item of chain.items) {
    const firstSequences = item.parts.map(({ partition, numbers }) => {
      const first = next.get(partition) as number;
      next.set(partition, first + numbers.length);
      return first;
    });
    results.set(item, { type: "stored", firstSequences, atMs: own[0]?.at_ms ?? 0 });
  }
  return true;
}

function refusalOf(row: PublishRow | undefined): PublishResult | null {
  // The producer's row goes only with its channel.
  if (!row?.is_current) return { type: "superseded" };
  if (!row.is_leased) return { type: "stale_fence" };
  if (!row.is_next) return { type: "out_of_order", lastNumber: Number(row.stored_number) };
  return row.n === null ? { type: "quota_exceeded" } : null;
}
