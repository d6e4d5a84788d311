// Submits windows of backfills, through the inbox: whoever enters them there in the transaction that marks them
// submitted has made their jobs, once, whatever crashes next.
//
// Invariants
//  1. A window is entered at most once: its backfill's row is locked and as it was read.
//  2. It is not done, and no open job is at it: live work is looked for in the very statement, and two backfills of one
//     source take turns by its row.
//  3. A window that open jobs are at stays waiting; it is looked at again.

import { doneRanges, openRanges } from "./event-windows.js";
import type { ReadPool } from "./read-pool.js";
import { fromMs, isByKey, isByKeyOf, toMs } from "./sql-text.js";

/** Windows looked at in one statement, in order of time: so many open ones may stand in front of one that may run. */
const windowsPerLookMax = 1_000;
const stoppedPerLookMax = 200;

/** A backfill that has something to do. */
export interface ActiveBackfill {
  readonly backfillId: string;
  readonly tenantId: number;
  readonly revision: number;
  readonly turn: number;
  /** Set when it is cancelled and its open jobs are to be cancelled too. */
  readonly cancelGraceMs: number | null;
}

export async function readActiveBackfills(
  db: ReadPool,
  afterId: string,
  limit: number,
): Promise<ActiveBackfill[]> {
  const { rows } = await db.query<{
    backfill_id: string;
    tenant_id: number;
    revision: string;
    turn: string;
    cancel_grace_ms: number | null;
  }>({
    name: "read_active_backfills",
    text: `
      select b.backfill_id, b.tenant_id, b.revision, s.turn, b.cancel_grace_ms
      from backfill b
      join event_source s on ${isByKeyOf("s", "b", "tenant_id", "source")}
      where (b.state = 1 or b.cancel_grace_ms is not null) and b.backfill_id > $1 order by b.backfill_id limit $2`,
    values: [afterId, limit],
  });
  return rows.map((row) => ({
    backfillId: row.backfill_id,
    tenantId: row.tenant_id,
    revision: Number(row.revision),
    turn: Number(row.turn),
    cancelGraceMs: row.cancel_grace_ms,
  }));
}

export interface SubmittedWindows {
  readonly submitted: number;
  /** Found done. */
  readonly skipped: number;
}

/** An RFC 3339 time of a timestamptz expression. */
const toText = (expression: string) =>
  `to_char(${expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** Submits what the pace allows; nothing when the backfill or its source changed since they were read. */
export async function submitWindows(
  db: ReadPool,
  { backfillId, revision, turn }: ActiveBackfill,
): Promise<SubmittedWindows> {
  const { rows } = await db.query<{ submitted: number; skipped: number }>({
    name: "submit_windows",
    text: `
      with own as materialized (
        select * from backfill
        where backfill_id = $1 and revision = $2 and state = 1 and next_submit_at <= now() for update
      ), source as materialized (
        select e.* from own o
        join event_source e on ${isByKeyOf("e", "o", "tenant_id", "source")}
        where e.turn = $3 for update of e
      ), known as materialized (
        select ${doneRanges("e")} as done, ${openRanges("e")} as open from source e
      ), room as materialized (
        select p.base, p.gap, least(${windowsPerLookMax},
          o.in_flight_max - (select count(*) from backfill_window w where w.backfill_id = o.backfill_id and w.state = 2),
          floor(extract(epoch from now() - p.base) / extract(epoch from p.gap)) + 1)::integer as windows
        from own o cross join lateral (
          select greatest(o.next_submit_at, now() - interval '1 second') as base,
            interval '1 minute' / o.per_minute_max as gap) p
      ), judged as materialized (
        select w.*, k.done @> tstzrange(w.from_at, w.to_at) as is_done, k.open && tstzrange(w.from_at, w.to_at) as is_open
        from known k cross join lateral (
          select * from backfill_window where backfill_id = $1 and state = 1
          order by from_at limit ${windowsPerLookMax}) w
      ), skipped as (
        update backfill_window w set state = 5 from judged j
        where ${isByKeyOf("w", "j", "backfill_id", "state", "from_at")} and j.is_done
        returning w.from_at
      ), chosen as materialized (
        select o.tenant_id, o.source, o.backfill_id, c.from_at, c.to_at, new_job_id() as job_id, o.job, o.payload,
          jsonb_build_object('source', o.source, 'fromMs', (${toMs("c.from_at")})::bigint,
            'toMs', (${toMs("c.to_at")})::bigint, 'backfillId', o.backfill_id) as made_for,
          'backfill/' || o.backfill_id || '/' || ${toText("c.from_at")} as key
        from own o cross join lateral (
          select from_at, to_at from judged where not is_done and not is_open
          order by from_at limit (select greatest(windows, 0) from room)) c
      ), submitted as (
        update backfill_window w set state = 2, job_id = c.job_id from chosen c
        where ${isByKeyOf("w", "c", "backfill_id", "from_at")}
        returning w.from_at
      ), opened as (
        insert into event_window (tenant_id, source, from_at, to_at, job_id, state)
        select tenant_id, source, from_at, to_at, job_id, 1 from chosen
      ), entered as (
        insert into inbox (job_id, tenant_id, submitted_by, submitted_at, kind, product, queue, priority, capabilities,
          source, fairness_key, fairness_weight, labels, idempotency_key, options, content_type, payload)
        select job_id, tenant_id, 'backfill', now(), job ->> 'kind', job ->> 'product', job ->> 'queue',
          (job ->> 'priority')::smallint, array(select jsonb_array_elements_text(job -> 'capabilities')),
          job ->> 'source', job #>> '{fairness,key}', (job #>> '{fairness,weight}')::integer, '{}', key,
          job -> 'options' || jsonb_build_object('idempotencyKey', key, 'window', made_for,
            'labels', coalesce(job #> '{options,labels}', '{}') || jsonb_build_object('backfill', backfill_id,
              'window_source', source, 'window_from', ${toText("from_at")}, 'window_to', ${toText("to_at")})),
          job ->> 'contentType', payload
        from chosen order by from_at
      ), paced as (
        update backfill b set revision = b.revision + 1,
          next_submit_at = coalesce(r.base + r.gap * (select count(*) from chosen)::float8, now())
        from room r where b.backfill_id = $1 and exists (select from chosen)
      ), turned as (
        update event_source e set turn = e.turn + 1 from source s
        where ${isByKeyOf("e", "s", "tenant_id", "source")}
          and exists (select from chosen)
      )
      select (select count(*) from submitted)::integer as submitted, (select count(*) from skipped)::integer as skipped`,
    values: [backfillId, revision, turn],
  });
  return rows[0] as SubmittedWindows;
}

/** Ends a running backfill that has no window left to wait for; and the stopping of one that was cancelled. */
export async function finishBackfill(db: ReadPool, backfillId: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "finish_backfill",
    text: `
      update backfill b set state = case b.state when 1 then 4 else b.state end,
        ended_at = coalesce(b.ended_at, now()), cancel_grace_ms = null, revision = b.revision + 1
      where b.backfill_id = $1 and (b.state = 1 or b.cancel_grace_ms is not null)
        and not exists (select from backfill_window w where w.backfill_id = $1 and w.state = 1)
        and not exists (select from backfill_window w where w.backfill_id = $1 and w.state = 2)`,
    values: [backfillId],
  });
  return rowCount === 1;
}

/**
 * Of a backfill that is being stopped: takes back windows that no hub has made jobs of; answers jobs that are open and
 * are not being cancelled.
 */
export async function stopWindows(db: ReadPool, backfillId: string): Promise<string[]> {
  await db.query({
    name: "take_back_windows",
    text: `
      with gone as (
        delete from inbox i using (
          select job_id from backfill_window where backfill_id = $1 and state = 2 limit ${stoppedPerLookMax}) w
        where ${isByKey("i.job_id", "w.job_id")}
        returning i.job_id, i.options
      ), ${closeDiscarded("gone")}
      select from closed`,
    values: [backfillId],
  });
  const { rows } = await db.query<{ job_id: string }>({
    name: "read_stopping_jobs",
    text: `
      select w.job_id from backfill_window w join job j on ${isByKey("j.id", "w.job_id")}
      where w.backfill_id = $1 and w.state = 2 and j.state < 6 and j.cancel_by is null limit ${stoppedPerLookMax}`,
    values: [backfillId],
  });
  return rows.map((row) => row.job_id);
}

/**
 * Parts of a statement that removed entries of the inbox before they became jobs: nobody works on their windows.
 *
 * @param gone name of a part that yields job_id and options of each
 */
export function closeDiscarded(gone: string): string {
  return `
  closed as (
    update backfill_window w set state = 6 from ${gone} g
    where ${isByKey("w.backfill_id", "(g.options #>> '{window,backfillId}')::uuid")}
      and ${isByKey("w.from_at", fromMs("(g.options #>> '{window,fromMs}')::float8"))}
      and w.job_id = g.job_id
    returning w.job_id
  ), unopened as (
    delete from event_window w using ${gone} g where ${isByKey("w.job_id", "g.job_id")}
  )`;
}

/** Windows of running backfills, by state. */
export async function countActiveWindows(db: ReadPool): Promise<ReadonlyMap<number, number>> {
  const { rows } = await db.query<{ state: number; windows: number }>({
    name: "count_active_windows",
    text: `
      select w.state, count(*)::integer as windows
      from backfill b join backfill_window w on ${isByKey("w.backfill_id", "b.backfill_id")}
      where b.state = 1 group by w.state`,
  });
  return new Map(rows.map((row) => [row.state, row.windows]));
}
