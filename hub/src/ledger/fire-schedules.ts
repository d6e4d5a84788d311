// Fires schedules, through the inbox: whoever moves a schedule on enters its jobs in the same statement, and only if the
// schedule is as it was when it was decided. So each time makes one job, however many hubs look, and whichever crashes.
import type { Operator } from "../domain/operation.js";
import type { Firing, ScheduledJob, ScheduleView } from "../domain/schedule.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { type ScheduleRow, scheduleColumns, scheduleJoins, toSchedule } from "./schedules.js";
import { fromMs, isByKey, numberArray, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** What schedules have to do now. */
export interface DueSchedules {
  readonly schedules: readonly (ScheduleView & { readonly tenantId: number })[];
  /** The ledger's time. */
  readonly nowMs: number;
  /** When the next of the others is due; null: none is. */
  readonly nextAtMs: number | null;
}

/** Schedules that are due, and those of which a time waits for a job that has ended or is to be cancelled. */
export async function readDueSchedules(db: ReadPool, limit: number): Promise<DueSchedules> {
  const { rows } = await db.query<
    ScheduleRow & { schedule_id: string | null; now_ms: number; after_ms: number | null }
  >({
    name: "read_due_schedules",
    text: `
      with due as materialized (
        (select schedule_id from schedule where paused_at is null and next_at <= now() order by next_at limit $1)
        union
        (select s.schedule_id from schedule s ${scheduleJoins}
          where s.paused_at is null and s.waiting_at is not null
            and (s.spec ->> 'overlap' = '4' or not (coalesce(j.state < 6, false)
              or (i.job_id is not null and i.refused_at is null)))
          order by s.waiting_at limit $1)
      )
      select ${toMs("now()")} as now_ms,
        (select ${toMs("min(n.next_at)")} from schedule n where n.paused_at is null and n.next_at > now()) as after_ms,
        ${scheduleColumns}
      from (values (1)) one (row)
        left join (due d join schedule s on ${isByKey("s.schedule_id", "d.schedule_id")}) on true
        ${scheduleJoins}`,
    values: [limit],
  });
  const first = rows[0];
  return {
    schedules: rows.flatMap((row) =>
      row.schedule_id === null ? [] : [{ ...toSchedule(row), tenantId: row.tenant_id }],
    ),
    nowMs: first?.now_ms ?? 0,
    nextAtMs: first?.after_ms ?? null,
  };
}

/** A job of a firing, with the id that it will have. */
export interface FiredJob extends ScheduledJob {
  readonly jobId: string;
  readonly atMs: number;
}

/** Null when nobody asked for it but the schedule itself. */
export type Triggering = Operator | null;

/**
 * Moves a schedule on and enters its jobs. Answers false, and does neither, when the schedule is another by now than was
 * read: another hub was faster, or an operator.
 */
export async function fireSchedule(
  db: ReadPool,
  { scheduleId, revision }: Pick<ScheduleView, "scheduleId" | "revision">,
  firing: Omit<Firing, "fire" | "isReplacing">,
  jobs: readonly FiredJob[],
  triggering: Triggering,
): Promise<boolean> {
  const newest = jobs.at(-1);
  const { rowCount } = await db.query({
    name: triggering ? "trigger_schedule" : "fire_schedule",
    text: triggering ? triggerText : fireText,
    values: [
      scheduleId,
      revision,
      firing.next?.atMs ?? null,
      firing.next?.priorMs ?? null,
      firing.waiting?.atMs ?? null,
      firing.waiting?.priorMs ?? null,
      newest?.jobId ?? null,
      newest?.atMs ?? null,
      firing.skipped,
      firing.missed,
      uuidArray(jobs.map(({ jobId }) => jobId)),
      jobs.map(({ idempotencyKey }) => idempotencyKey),
      numberArray(jobs.map(({ runAtMs }) => runAtMs)),
      jobs.map(({ options }) => JSON.stringify(options)),
      ...(triggering ? operatorValues(triggering) : []),
    ],
  });
  return rowCount === 1;
}

const firingText = (recording: string) => `
  with fired as (
    update schedule set revision = revision + 1, next_at = ${fromMs("$3::float8")}, prior_at = ${fromMs("$4::float8")},
      waiting_at = ${fromMs("$5::float8")}, waiting_prior_at = ${fromMs("$6::float8")},
      last_job_id = coalesce($7::uuid, last_job_id), last_at = coalesce(${fromMs("$8::float8")}, last_at),
      fired = fired + cardinality($11::uuid[]), skipped = skipped + $9, missed = missed + $10
    where schedule_id = $1 and revision = $2
    returning *
  ), jobs as (
    select j.* from fired cross join unnest($11::uuid[], $12::text[], $13::float8[], $14::text[])
      with ordinality as j (job_id, key, run_at_ms, options, n)
  ), windows as (
    select f.tenant_id, w.made_for ->> 'source' as source, j.job_id,
      ${fromMs("(w.made_for ->> 'fromMs')::float8")} as from_at, ${fromMs("(w.made_for ->> 'toMs')::float8")} as to_at
    from fired f cross join jobs j cross join lateral (select j.options::jsonb -> 'window' as made_for) w
    where w.made_for is not null
  ), sources as (
    insert into event_source (tenant_id, source, origin_at)
    select tenant_id, source, min(from_at) from windows group by tenant_id, source
    on conflict do nothing
  ), opened as (
    insert into event_window (tenant_id, source, from_at, to_at, job_id, state)
    select tenant_id, source, from_at, to_at, job_id, 1 from windows
  ), entered as (
    insert into inbox (job_id, tenant_id, submitted_by, submitted_at, kind, product, queue, priority, capabilities,
      source, fairness_key, fairness_weight, labels, idempotency_key, run_at, options, content_type, payload)
    select j.job_id, f.tenant_id, 'schedule', now(), t.job ->> 'kind', t.job ->> 'product', t.job ->> 'queue',
      (t.job ->> 'priority')::smallint, array(select jsonb_array_elements_text(t.job -> 'capabilities')),
      t.job ->> 'source', t.job #>> '{fairness,key}', (t.job #>> '{fairness,weight}')::integer, '{}', j.key,
      ${fromMs("j.run_at_ms")}, j.options::jsonb, t.job ->> 'contentType', f.payload
    from fired f cross join jobs j cross join lateral (select f.spec -> 'job' as job) t order by j.n
  )${recording}
  select from fired`;

const fireText = firingText("");

const triggerText = firingText(`, changed as (
    select tenant_id as operation_tenant, 'schedule.trigger' as action, 'schedule:' || name as target,
      null::jsonb as before, jsonb_strip_nulls(jsonb_build_object('jobId', $7::uuid)) as after
    from fired
  ), ${recordOperation("changed", 15)}`);
