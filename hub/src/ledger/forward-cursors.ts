// How far each writer's pages are forwarded to a sink, and which hub forwards them. A claim on a cursor runs out by the
// ledger's clock; whoever lost one finds out when it saves. Two hubs that forward one writer for a moment do no harm:
// both go through its pages in order, and ids tell duplicates.
import type { ForwardStatus } from "../domain/forwarded-event.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, numberArray, toMs } from "./sql-text.js";

/** One writer's pages, as claimed by a hub. */
export interface ForwardClaim {
  readonly writerId: number;
  readonly forwardedThrough: number;
  /** When that page was written, as the ledger's own text. */
  readonly pageAt: string;
}

/** Makes the sink known; it begins with this writer unless it had begun before. */
export async function beginSink(db: ReadPool, sink: string, writerId: number): Promise<void> {
  await db.query("insert into forward_sink (sink, first_writer) values ($1, $2) on conflict do nothing", [
    sink,
    writerId,
  ]);
}

/** Gives every writer since the sink began its cursor: also those whose own hub does not forward. */
export async function makeCursors(db: ReadPool, sink: string): Promise<void> {
  await db.query(
    `insert into forward_cursor (sink, writer_id, page_at)
     select s.sink, w.writer_id, w.started_at
     from forward_sink s join writer w on w.writer_id >= s.first_writer
     where s.sink = $1
       and not exists (select from forward_cursor c
         where ${isByKey("c.sink", "s.sink")} and ${isByKey("c.writer_id", "w.writer_id")})
     on conflict do nothing`,
    [sink],
  );
}

/** Claims the pages of a writer, or answers null while another hub holds them. */
export async function claimCursor(
  db: ReadPool,
  sink: string,
  writerId: number,
  hubId: number,
  ttlMs: number,
): Promise<ForwardClaim | null> {
  const { rows } = await db.query<{ forwarded_through: string; page_at: string }>(
    `insert into forward_cursor as c (sink, writer_id, page_at, claimed_by, claimed_until)
     select $1, w.writer_id, w.started_at, $3, now() + $4::float8 * interval '1 ms'
     from writer w where w.writer_id = $2
     on conflict (sink, writer_id) do update
       set claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until, is_done = false
       where c.claimed_by is null or c.claimed_by = excluded.claimed_by or c.claimed_until <= now()
     returning forwarded_through, page_at::text`,
    [sink, writerId, hubId, ttlMs],
  );
  const row = rows[0];
  return row ? { writerId, forwardedThrough: Number(row.forwarded_through), pageAt: row.page_at } : null;
}

/** Saves how far a writer is forwarded and renews the claim; false: another hub has taken it. */
export async function saveCursor(
  db: ReadPool,
  sink: string,
  claim: ForwardClaim,
  hubId: number,
  next: { readonly ttlMs: number; readonly isDone: boolean },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update forward_cursor
     set forwarded_through = greatest(forwarded_through, $4), page_at = greatest(page_at, $5::timestamptz),
       claimed_until = now() + $6::float8 * interval '1 ms', is_done = $7, saved_at = now()
     where sink = $1 and writer_id = $2 and claimed_by = $3`,
    [sink, claim.writerId, hubId, claim.forwardedThrough, claim.pageAt, next.ttlMs, next.isDone],
  );
  return rowCount === 1;
}

/**
 * Writers whose pages nobody forwards: those whose life is over at once, others when their claim has been over, or
 * they have been without one, for `graceMs`.
 */
export async function listUnclaimed(
  db: ReadPool,
  sink: string,
  graceMs: number,
  limit: number,
): Promise<number[]> {
  const { rows } = await db.query<{ writer_id: number }>(
    `select c.writer_id from forward_cursor c join writer w on w.writer_id = c.writer_id
     where c.sink = $1 and not c.is_done and (c.claimed_until is null or c.claimed_until <= now())
       and (w.ended_at is not null
         or coalesce(c.claimed_until, w.started_at) <= now() - $2::float8 * interval '1 ms')
     order by c.writer_id limit $3`,
    [sink, graceMs, limit],
  );
  return rows.map((row) => row.writer_id);
}

/** How far some writers are forwarded; those from before the sink began, which nobody forwards, count as forwarded. */
export async function readForwardMarks(
  db: ReadPool,
  sink: string,
  writerIds: readonly number[],
): Promise<Map<number, number>> {
  const { rows } = await db.query<{ writer_id: number; through: string | null }>(
    `select i.writer_id, coalesce(c.forwarded_through,
       case when i.writer_id < s.first_writer then ${Number.MAX_SAFE_INTEGER} end) as through
     from forward_sink s cross join unnest($2::integer[]) as i (writer_id)
     left join forward_cursor c on ${isByKey("c.sink", "s.sink")} and ${isByKey("c.writer_id", "i.writer_id")}
     where s.sink = $1`,
    [sink, numberArray(writerIds)],
  );
  return new Map(
    rows.flatMap(({ writer_id, through }) => (through === null ? [] : [[writer_id, Number(through)]])),
  );
}

/** Waiting events are counted in this many pages per writer, at most; the rest is taken to be like them. */
const countedPagesMax = 50;

/** How far each writer is that is not done, and the newest of those that are. */
export async function readForwarding(db: ReadPool, sink: string, limit: number): Promise<ForwardStatus[]> {
  const { rows } = await db.query<{
    writer_id: number;
    host: string;
    is_ended: boolean;
    is_done: boolean;
    forwarded_through: string;
    last_page: string;
    counted_pages: number;
    counted_events: string;
    lag_ms: number | null;
    claimed_by: number | null;
  }>(
    `with cursors as (
       select * from forward_cursor where sink = $1 order by is_done, writer_id desc limit $2
     )
     select c.writer_id, w.host, w.ended_at is not null as is_ended, c.is_done, c.forwarded_through,
       greatest(c.forwarded_through,
         (select coalesce(max(batch), 0) from event_page where writer_id = c.writer_id)) as last_page,
       n.pages as counted_pages, n.events as counted_events, ${toMs("now() - n.since")} as lag_ms,
       case when c.claimed_until > now() then c.claimed_by end as claimed_by
     from cursors c join writer w on w.writer_id = c.writer_id
     cross join lateral (
       select count(*)::integer as pages, coalesce(sum(cardinality(p.items)), 0) as events,
         min(p.at) filter (where cardinality(p.items) > 0) as since
       from (select at, items from event_page p
             where p.writer_id = c.writer_id and p.batch > c.forwarded_through and not c.is_done
             order by batch limit ${countedPagesMax}) p
     ) n
     order by c.is_done, c.writer_id desc`,
    [sink, limit],
  );
  return rows.map((row) => {
    const waitingPages = Number(row.last_page) - Number(row.forwarded_through);
    const perPage = Number(row.counted_events) / Math.max(1, row.counted_pages);
    return {
      writerId: row.writer_id,
      host: row.host,
      isEnded: row.is_ended,
      isDone: row.is_done,
      forwardedThrough: Number(row.forwarded_through),
      lastPage: Number(row.last_page),
      waitingEvents:
        waitingPages > countedPagesMax ? Math.round(perPage * waitingPages) : Number(row.counted_events),
      lagMs: row.lag_ms === null ? null : Math.max(0, row.lag_ms),
      claimedBy: row.claimed_by,
    };
  });
}
