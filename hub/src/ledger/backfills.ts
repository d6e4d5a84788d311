// Backfills as operators make, change and see them. Submitting their windows is submit-windows.ts.
import type {
  BackfillPreview,
  BackfillRange,
  BackfillState,
  BackfillView,
  BackfillWindowView,
  NewBackfill,
  WindowCounts,
} from "../domain/backfill.js";
import type { JobTemplate } from "../domain/job-template.js";
import type { Operator } from "../domain/operation.js";
import { lastUuid } from "../domain/uuid.js";
import { doneRanges, openRanges } from "./event-windows.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { fromMs, isByKey, toMs } from "./sql-text.js";

const windowsShownMax = 10;

/** A part: the windows of a range, from parameters for its begin, its end and its step. */
const cutWindows = (first: number) => `
  cut as (
    select w.from_at, least(w.from_at + $${first + 2}::float8 * interval '1 ms', b.to_at) as to_at
    from (select ${fromMs(`$${first}::float8`)} as from_at, ${fromMs(`$${first + 1}::float8`)} as to_at) b
    cross join lateral generate_series(b.from_at, b.to_at - interval '1 us', $${first + 2}::float8 * interval '1 ms')
      as w (from_at)
  )`;

/** A part: what of a source is done, and what open jobs are at; a row in any case. */
const known = `
  known as materialized (
    select coalesce(s.done, '{}') as done, coalesce(s.open, '{}') as open
    from (values (1)) one (row)
    left join (
      select ${doneRanges("e")} as done, ${openRanges("e")} as open
      from event_source e where e.tenant_id = $1 and e.source = $2) s on true
  )`;

export async function previewBackfill(
  db: ReadPool,
  tenantId: number,
  { source, fromMs, toMs: endMs, stepMs }: BackfillRange,
): Promise<BackfillPreview> {
  const { rows } = await db.query<{
    total: number;
    done: number;
    open: number;
    first: readonly (readonly [number, number])[] | null;
  }>({
    name: "preview_backfill",
    text: `
      with ${known}, ${cutWindows(3)}, judged as (
        select c.*, k.done @> tstzrange(c.from_at, c.to_at) as is_done, k.open && tstzrange(c.from_at, c.to_at) as is_open
        from cut c cross join known k
      )
      select count(*)::integer as total, count(*) filter (where is_done)::integer as done,
        count(*) filter (where is_open and not is_done)::integer as open,
        (select jsonb_agg(jsonb_build_array(${toMs("from_at")}, ${toMs("to_at")})) from (
          select from_at, to_at from judged where not is_done and not is_open
          order by from_at limit ${windowsShownMax}) f) as first
      from judged`,
    values: [tenantId, source, fromMs, endMs, stepMs],
  });
  const row = rows[0];
  return {
    total: row?.total ?? 0,
    done: row?.done ?? 0,
    open: row?.open ?? 0,
    first: (row?.first ?? []).map(([from, to]) => ({ source, fromMs: from, toMs: to })),
  };
}

/** A backfill and all its windows; those that are done already are skipped from the start. */
export async function startBackfill(
  db: ReadPool,
  operator: Operator,
  { backfillId, range, job, payload, inFlightMax, perMinuteMax }: NewBackfill,
): Promise<void> {
  await db.query({
    name: "start_backfill",
    text: `
      with ${known}, ${cutWindows(3)}, seen as (
        insert into event_source (tenant_id, source, origin_at) values ($1, $2, ${fromMs("$3::float8")})
        on conflict do nothing
      ), made as (
        insert into backfill (backfill_id, tenant_id, source, from_at, to_at, step_ms, in_flight_max, per_minute_max, job,
          payload, created_by)
        values ($6, $1, $2, ${fromMs("$3::float8")}, ${fromMs("$4::float8")}, $5, $7, $8, $9, $10, $11)
        returning *
      ), windows as (
        insert into backfill_window (backfill_id, from_at, to_at, state)
        select m.backfill_id, c.from_at, c.to_at, case when k.done @> tstzrange(c.from_at, c.to_at) then 5 else 1 end
        from made m cross join cut c cross join known k
        returning state
      ), changed as (
        select tenant_id as operation_tenant, 'backfill.start' as action, 'backfill:' || backfill_id as target,
          null::jsonb as before, jsonb_build_object('source', source, 'from', from_at, 'to', to_at, 'stepMs', step_ms,
            'inFlightMax', in_flight_max, 'perMinuteMax', per_minute_max, 'job', job - 'options',
            'windows', (select count(*) from windows)) as after
        from made
      ), ${recordOperation("changed", 11)}
      select from made`,
    values: [
      operator.tenantId,
      range.source,
      range.fromMs,
      range.toMs,
      range.stepMs,
      backfillId,
      inFlightMax,
      perMinuteMax,
      JSON.stringify(job),
      payload,
      ...operatorValues(operator),
    ],
  });
}

interface BackfillRow extends WindowCounts {
  readonly backfill_id: string;
  readonly source: string;
  readonly from_ms: number;
  readonly to_ms: number;
  readonly step_ms: string;
  readonly in_flight_max: number;
  readonly per_minute_max: number | null;
  readonly job: JobTemplate;
  readonly state: BackfillState;
  readonly created_at_ms: number;
  readonly created_by: string;
  readonly ended_at_ms: number | null;
}

/** `backfillId` null: any. Newest first, windows counted as they are now. */
export async function readBackfills(
  db: ReadPool,
  tenantId: number,
  backfillId: string | null,
  beforeId: string,
  limit: number,
): Promise<BackfillView[]> {
  const { rows } = await db.query<BackfillRow>({
    name: "read_backfills",
    text: `
      select b.backfill_id, b.source, ${toMs("b.from_at")} as from_ms, ${toMs("b.to_at")} as to_ms, b.step_ms,
        b.in_flight_max, b.per_minute_max, b.job, b.state, ${toMs("b.created_at")} as created_at_ms, b.created_by,
        ${toMs("b.ended_at")} as ended_at_ms, c.*
      from (
        select * from backfill
        where tenant_id = $1 and backfill_id < $3 and ($2::uuid is null or backfill_id = $2)
        order by backfill_id desc limit $4) b
      cross join lateral (
        select count(*) filter (where w.state = 1)::integer as waiting,
          count(*) filter (where w.state = 2)::integer as submitted,
          count(*) filter (where w.state = 3)::integer as done,
          count(*) filter (where w.state = 4)::integer as failed,
          count(*) filter (where w.state = 5)::integer as skipped,
          count(*) filter (where w.state = 6)::integer as cancelled
        from backfill_window w where w.backfill_id = b.backfill_id) c
      order by b.backfill_id desc`,
    values: [tenantId, backfillId, beforeId || lastUuid, limit],
  });
  return rows.map(toBackfill);
}

function toBackfill(row: BackfillRow): BackfillView {
  const { waiting, submitted, done, failed, skipped, cancelled } = row;
  return {
    backfillId: row.backfill_id,
    range: { source: row.source, fromMs: row.from_ms, toMs: row.to_ms, stepMs: Number(row.step_ms) },
    job: row.job,
    inFlightMax: row.in_flight_max,
    perMinuteMax: row.per_minute_max,
    state: row.state,
    windows: { waiting, submitted, done, failed, skipped, cancelled },
    createdAtMs: row.created_at_ms,
    createdBy: row.created_by,
    endedAtMs: row.ended_at_ms,
  };
}

/** In order of time, after one; `state` 0 means any. */
export async function listWindows(
  db: ReadPool,
  backfillId: string,
  state: number,
  afterMs: number,
  limit: number,
): Promise<BackfillWindowView[]> {
  const { rows } = await db.query<{
    from_ms: number;
    to_ms: number;
    state: BackfillWindowView["state"];
    job_id: string | null;
  }>({
    name: "list_backfill_windows",
    text: `
      select ${toMs("from_at")} as from_ms, ${toMs("to_at")} as to_ms, state, job_id from backfill_window
      where backfill_id = $1 and from_at > ${fromMs("$3::float8")} and ($2 = 0 or state = $2)
      order by from_at limit $4`,
    values: [backfillId, state, afterMs, limit],
  });
  return rows.map((row) => ({ fromMs: row.from_ms, toMs: row.to_ms, state: row.state, jobId: row.job_id }));
}

/** What an operator may make of a backfill that has not ended. */
export type BackfillChange =
  | { readonly type: "pause" | "resume" }
  /** Null: open jobs go on. */
  | { readonly type: "cancel"; readonly graceMs: number | null };

/**
 * Changes a backfill that has not ended; answers whether there was one. Whoever submits its windows holds its row, so
 * nothing is submitted once this is answered. Windows that wait are cancelled with it.
 */
export async function changeBackfill(
  db: ReadPool,
  operator: Operator,
  backfillId: string,
  change: BackfillChange,
): Promise<boolean> {
  const state = { pause: 2, resume: 1, cancel: 3 }[change.type];
  const { rows } = await db.query<{ backfill_id: string }>({
    name: "change_backfill",
    text: `
      with before as (
        select * from backfill where tenant_id = $1 and backfill_id = $2 and state < 3 for update
      ), made as (
        update backfill b set state = $3::smallint, cancel_grace_ms = $4::integer, revision = b.revision + 1,
          ended_at = case when $3::smallint = 3 then now() end
        from before o where ${isByKey("b.backfill_id", "o.backfill_id")}
        returning b.*, o.state as state_before
      ), dropped as (
        update backfill_window set state = 6
        where backfill_id = $2 and state = 1 and exists (select from made where state = 3)
      ), changed as (
        select tenant_id as operation_tenant, $5::text as action, 'backfill:' || backfill_id as target,
          jsonb_build_object('state', state_before) as before,
          jsonb_strip_nulls(jsonb_build_object('state', state, 'cancelGraceMs', cancel_grace_ms)) as after
        from made
      ), ${recordOperation("changed", 6)}
      select backfill_id from made`,
    values: [
      operator.tenantId,
      backfillId,
      state,
      change.type === "cancel" ? change.graceMs : null,
      `backfill.${change.type}`,
      ...operatorValues(operator),
    ],
  });
  return rows.length > 0;
}
