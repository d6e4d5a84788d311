// What of a source's event time is done or being worked on. A window is known in the transaction that submits or ends
// its job (migration 0017); done ones are folded into a few ranges of their source afterwards.
import type { WatermarkView } from "../domain/backfill.js";
import type { ReadPool } from "./read-pool.js";
import { isByKeyOf, toMs } from "./sql-text.js";

const foldedPerCallMax = 5_000;
const rangesShownMax = 100;

/**
 * An expression: what of a source is done, folded in or not. One statement sees a window in exactly one of both.
 *
 * @param source alias of a row of event_source
 */
export function doneRanges(source: string): string {
  return `(${source}.done + coalesce((
    select range_agg(tstzrange(w.from_at, w.to_at)) from event_window w
    where w.tenant_id = ${source}.tenant_id and w.source = ${source}.source and w.state = 2), '{}'))`;
}

/** The same for what open jobs are at. */
export function openRanges(source: string): string {
  return `coalesce((
    select range_agg(tstzrange(w.from_at, w.to_at)) from event_window w
    where w.tenant_id = ${source}.tenant_id and w.source = ${source}.source and w.state = 1), '{}'::tstzmultirange)`;
}

/** Folds done windows into their sources, on one hub at a time; answers how many. */
export async function foldWindows(db: ReadPool): Promise<number> {
  const { rows } = await db.query<{ folded: number }>({
    name: "fold_windows",
    text: `
      with folder as materialized (
        select pg_try_advisory_xact_lock(hashtext('holdfast.fold_windows')) as is_alone
      ), taken as materialized (
        select w.tenant_id, w.source, w.from_at, w.job_id, w.state from folder f
        cross join lateral (
          select * from event_window where state = 2 order by tenant_id, source, from_at limit ${foldedPerCallMax}) w
        where f.is_alone
      ), gone as (
        delete from event_window w using taken t
        where ${isByKeyOf("w", "t", "tenant_id", "source", "from_at", "job_id", "state")}
        returning w.*
      ), merged as (
        select tenant_id, source, range_agg(tstzrange(from_at, to_at)) as done, count(*) as windows
        from gone group by tenant_id, source
      ), folded as (
        update event_source s set done = s.done + m.done
        from merged m where ${isByKeyOf("s", "m", "tenant_id", "source")}
        returning m.windows
      )
      select coalesce(sum(windows), 0)::integer as folded from folded`,
  });
  return rows[0]?.folded ?? 0;
}

interface WatermarkRow {
  readonly source: string;
  readonly origin_ms: number;
  readonly watermark_ms: number;
  readonly through_ms: number | null;
  readonly open: number;
  readonly failed: number;
  readonly ranges: readonly (readonly [number, number])[] | null;
}

/** Sources in order of their names, after one; `name` "" means any. */
export async function readWatermarks(
  db: ReadPool,
  tenantId: number,
  name: string,
  afterSource: string,
  limit: number,
): Promise<WatermarkView[]> {
  const { rows } = await db.query<WatermarkRow>({
    name: "read_watermarks",
    text: `
      select s.source, ${toMs("s.origin_at")} as origin_ms, ${toMs("upper(d.done)")} as through_ms,
        ${toMs("coalesce((select upper(r) from unnest(d.done) r where r @> s.origin_at), s.origin_at)")} as watermark_ms,
        (select count(*) from event_window w
          where w.tenant_id = s.tenant_id and w.source = s.source and w.state = 1)::integer as open,
        (select count(*) from event_window w
          where w.tenant_id = s.tenant_id and w.source = s.source and w.state = 3
            and not d.done @> tstzrange(w.from_at, w.to_at))::integer as failed,
        case when $2 <> '' then (
          select jsonb_agg(jsonb_build_array(${toMs("lower(r)")}, ${toMs("upper(r)")}))
          from (select r from unnest(d.done) r limit ${rangesShownMax}) shown) end as ranges
      from (
        select * from event_source where tenant_id = $1 and source > $3 and ($2 = '' or source = $2)
        order by source limit $4) s
      cross join lateral (select ${doneRanges("s")} as done offset 0) d
      order by s.source`,
    values: [tenantId, name, afterSource, limit],
  });
  return rows.map((row) => ({
    source: row.source,
    originMs: row.origin_ms,
    watermarkMs: row.watermark_ms,
    doneThroughMs: row.through_ms,
    open: row.open,
    failed: row.failed,
    done: (row.ranges ?? []).map(([fromMs, toMs]) => ({ fromMs, toMs })),
  }));
}
