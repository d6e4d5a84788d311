// Schedules as operators make, change and see them. Firing them is fire-schedules.ts.
import type { Operator } from "../domain/operation.js";
import type { Due, ScheduleSpec, ScheduleView } from "../domain/schedule.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { fromMs, isByKey, toMs } from "./sql-text.js";

export interface ScheduleRow {
  readonly schedule_id: string;
  readonly tenant_id: number;
  readonly name: string;
  readonly spec: ScheduleSpec;
  readonly payload_bytes: number;
  readonly revision: string;
  readonly paused_at_ms: number | null;
  readonly pause_reason: string | null;
  readonly next_at_ms: number | null;
  readonly prior_at_ms: number | null;
  readonly waiting_at_ms: number | null;
  readonly waiting_prior_at_ms: number | null;
  readonly last_at_ms: number | null;
  readonly last_job_id: string | null;
  readonly last_job_state: number | null;
  readonly is_open: boolean;
  readonly is_cancelling: boolean;
  readonly fired: string;
  readonly skipped: string;
  readonly missed: string;
  readonly created_at_ms: number;
  readonly updated_at_ms: number;
}

/** Of a schedule s, its newest job j, and that job's entry in the inbox i. */
export const scheduleColumns = `
  s.schedule_id, s.tenant_id, s.name, s.spec, octet_length(s.payload) as payload_bytes, s.revision,
  ${toMs("s.paused_at")} as paused_at_ms, s.pause_reason, ${toMs("s.next_at")} as next_at_ms,
  ${toMs("s.prior_at")} as prior_at_ms, ${toMs("s.waiting_at")} as waiting_at_ms,
  ${toMs("s.waiting_prior_at")} as waiting_prior_at_ms, ${toMs("s.last_at")} as last_at_ms, s.last_job_id,
  j.state as last_job_state, coalesce(j.state < 6, false) or (i.job_id is not null and i.refused_at is null) as is_open,
  j.cancel_by is not null as is_cancelling, s.fired, s.skipped, s.missed, ${toMs("s.created_at")} as created_at_ms,
  ${toMs("s.updated_at")} as updated_at_ms`;

export const scheduleJoins = `left join job j on ${isByKey("j.id", "s.last_job_id")}
  left join inbox i on ${isByKey("i.job_id", "s.last_job_id")}`;

const dueOf = (atMs: number | null, priorMs: number | null): Due | null =>
  atMs === null ? null : { atMs, priorMs };

export function toSchedule(row: ScheduleRow): ScheduleView {
  return {
    scheduleId: row.schedule_id,
    name: row.name,
    spec: row.spec,
    payloadBytes: row.payload_bytes,
    revision: Number(row.revision),
    pausedAtMs: row.paused_at_ms,
    pauseReason: row.pause_reason ?? "",
    next: dueOf(row.next_at_ms, row.prior_at_ms),
    waiting: dueOf(row.waiting_at_ms, row.waiting_prior_at_ms),
    lastAtMs: row.last_at_ms,
    lastJobId: row.last_job_id,
    lastJobState: row.last_job_state,
    isOpen: row.is_open,
    isCancelling: row.is_cancelling,
    fired: Number(row.fired),
    skipped: Number(row.skipped),
    missed: Number(row.missed),
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  };
}

/** A schedule, if there is one of this name, and the ledger's time. */
export async function readSchedule(
  db: ReadPool,
  tenantId: number,
  name: string,
): Promise<{ readonly schedule: ScheduleView | null; readonly nowMs: number }> {
  const { rows } = await db.query<ScheduleRow & { schedule_id: string | null; now_ms: number }>({
    name: "read_schedule",
    text: `
      select ${toMs("now()")} as now_ms, ${scheduleColumns}
      from (values (1)) one (row) left join schedule s on s.tenant_id = $1 and s.name = $2 ${scheduleJoins}`,
    values: [tenantId, name],
  });
  const row = rows[0];
  if (!row) throw new Error("A statement that yields a row yielded none.");
  return { schedule: row.schedule_id === null ? null : toSchedule(row), nowMs: row.now_ms };
}

/** In order of their names, after one. */
export async function listSchedules(
  db: ReadPool,
  tenantId: number,
  afterName: string,
  limit: number,
): Promise<ScheduleView[]> {
  const { rows } = await db.query<ScheduleRow>({
    name: "list_schedules",
    text: `
      select ${scheduleColumns}
      from (select * from schedule where tenant_id = $1 and name > $2 order by name limit $3) s ${scheduleJoins}
      order by s.name`,
    values: [tenantId, afterName, limit],
  });
  return rows.map(toSchedule);
}

export interface NewSchedule {
  readonly scheduleId: string;
  readonly name: string;
  readonly spec: ScheduleSpec;
  readonly payload: Uint8Array;
  readonly next: Due | null;
}

/** What an operator sees of a schedule in the record of changes. */
const recorded = (row: string) => `jsonb_build_object('spec', ${row}.spec #- '{job,options}',
  'payloadBytes', octet_length(${row}.payload), 'paused', ${row}.pause_reason)`;

/** Answers whether it was made: not when there is one of this name by now. */
export async function createSchedule(
  db: ReadPool,
  operator: Operator,
  { scheduleId, name, spec, payload, next }: NewSchedule,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "create_schedule",
    text: `
      with made as (
        insert into schedule (schedule_id, tenant_id, name, spec, payload, next_at, prior_at)
        values ($1, $2, $3, $4, $5, ${fromMs("$6::float8")}, ${fromMs("$7::float8")})
        on conflict do nothing returning *
      ), changed as (
        select tenant_id as operation_tenant, 'schedule.set' as action, 'schedule:' || name as target,
          null::jsonb as before, ${recorded("m")} as after from made m
      ), ${recordOperation("changed", 8)}
      select from made`,
    values: [
      scheduleId,
      operator.tenantId,
      name,
      JSON.stringify(spec),
      payload,
      next?.atMs ?? null,
      next?.priorMs ?? null,
      ...operatorValues(operator),
    ],
  });
  return rowCount === 1;
}

/** What an operator makes of a schedule; what is absent stays. */
export interface ScheduleChange {
  readonly action: "schedule.set" | "schedule.pause" | "schedule.resume";
  readonly spec?: ScheduleSpec;
  readonly payload?: Uint8Array;
  readonly isPaused: boolean;
  readonly next: Due | null;
  readonly waiting: Due | null;
}

/** Answers whether it was changed: not when it is another by now than was read. */
export async function changeSchedule(
  db: ReadPool,
  operator: Operator,
  { scheduleId, revision }: Pick<ScheduleView, "scheduleId" | "revision">,
  { action, spec, payload, isPaused, next, waiting }: ScheduleChange,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "change_schedule",
    text: `
      with before as (
        select * from schedule where schedule_id = $1 and tenant_id = $2 and revision = $3 for update
      ), made as (
        update schedule s set spec = coalesce($4::jsonb, s.spec), payload = coalesce($5::bytea, s.payload),
          paused_at = case when $6::boolean then coalesce(s.paused_at, now()) end,
          pause_reason = case when $6::boolean then case $7::text when 'schedule.set' then s.pause_reason else $13 end end,
          next_at = ${fromMs("$8::float8")}, prior_at = ${fromMs("$9::float8")}, waiting_at = ${fromMs("$10::float8")},
          waiting_prior_at = ${fromMs("$11::float8")}, revision = s.revision + 1, updated_at = now()
        from before b where ${isByKey("s.schedule_id", "b.schedule_id")}
        returning s.*, ${recorded("b")} as stood
      ), changed as (
        select tenant_id as operation_tenant, $7::text as action, 'schedule:' || name as target, stood as before,
          ${recorded("m")} as after
        from made m
      ), ${recordOperation("changed", 12)}
      select from made`,
    values: [
      scheduleId,
      operator.tenantId,
      revision,
      spec ? JSON.stringify(spec) : null,
      payload ?? null,
      isPaused,
      action,
      next?.atMs ?? null,
      next?.priorMs ?? null,
      waiting?.atMs ?? null,
      waiting?.priorMs ?? null,
      ...operatorValues(operator),
    ],
  });
  return rowCount === 1;
}

/** Answers whether there was one. */
export async function deleteSchedule(db: ReadPool, operator: Operator, name: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "delete_schedule",
    text: `
      with gone as (
        delete from schedule where tenant_id = $1 and name = $2 returning *
      ), changed as (
        select tenant_id as operation_tenant, 'schedule.delete' as action, 'schedule:' || name as target,
          ${recorded("g")} as before, null::jsonb as after
        from gone g
      ), ${recordOperation("changed", 3)}
      select from gone`,
    values: [operator.tenantId, name, ...operatorValues(operator)],
  });
  return rowCount === 1;
}
