// Meters as they stand, and what jobs ask of them (docs/adr/0031). Reads take no lock: what is decided by them is compared
// once more where it is written.
import type pg from "pg";
import { type BudgetSettings, type Gate, GateType, limitsOf } from "../domain/gate.js";
import { type JobOptions, Priority } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import { type MeterAsk, noLimits, type ReadLevel } from "../domain/meter.js";
import type { ClaimItem } from "./claim-jobs.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, numberArray, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

const levelColumns = `
  meter_id, tenant_id, type, target, settings, jobs, open_cost, open_tokens, spent_cost, spent_tokens, promised,
  case when isfinite(window_began_at) then ${toMs("window_began_at")} end as window_began_ms,
  ${toMs("window_end(settings, now())")} as window_ends_ms,
  warned_window >= window_began_at as is_warned, exhausted_window >= window_began_at as is_exhausted`;

export interface LevelRow {
  readonly meter_id: number;
  readonly tenant_id: number;
  readonly type: Gate["type"] | null;
  readonly target: string;
  readonly settings: Gate["settings"] | null;
  readonly jobs: number;
  readonly open_cost: string;
  readonly open_tokens: string;
  readonly spent_cost: string;
  readonly spent_tokens: string;
  readonly promised: number;
  readonly window_began_ms: number | null;
  readonly window_ends_ms: number | null;
  readonly is_warned: boolean;
  readonly is_exhausted: boolean;
}

export function toLevel(row: LevelRow): ReadLevel {
  const { settings } = row;
  // The gate of a declared key is an operator's cap on it.
  const type = row.type ?? GateType.Cap;
  return {
    meterId: row.meter_id,
    tenantId: row.tenant_id,
    type: row.type,
    target: row.target,
    limits: settings ? limitsOf({ type, settings } as Gate) : noLimits,
    jobs: row.jobs,
    cost: Number(row.open_cost) + Number(row.spent_cost),
    tokens: Number(row.open_tokens) + Number(row.spent_tokens),
    promised: row.promised,
    turnsAtMs: row.window_ends_ms,
    windowBeganAtMs: row.window_began_ms,
    isPreemptive: settings !== null && "isPreemptive" in settings && settings.isPreemptive,
    alertPercent: settings && "alertPercent" in settings ? (settings as BudgetSettings).alertPercent : null,
    isWarned: row.is_warned,
    isExhausted: row.is_exhausted,
    spentCost: Number(row.spent_cost),
    spentTokens: Number(row.spent_tokens),
  };
}

type Query = <Row extends object>(config: pg.QueryConfig) => Promise<pg.QueryResult<Row & pg.QueryResultRow>>;

/** Meters of gates and of the keys that jobs declare, made where they are missing. */
export const makeMetersText = `
with keys as (
  select distinct j.tenant_id, j.options #>> '{inFlight,key}' as key
  from unnest($1::uuid[]) i (id) join job j on ${isByKey("j.id", "i.id")}
  where j.options ? 'inFlight'
), made as (
  insert into meter (meter_id, tenant_id, declared_key)
  select nextval('declared_key_meter')::integer, tenant_id, key from keys k
  where not exists (select from meter m
    where ${isByKey("m.tenant_id", "k.tenant_id")} and ${isByKey("m.declared_key", "k.key")})
  on conflict do nothing
)
insert into meter (meter_id, tenant_id)
select g.gate_id, g.tenant_id from unnest($2::integer[]) i (id) join gate g on ${isByKey("g.gate_id", "i.id")}
where not exists (select from meter m where ${isByKey("m.meter_id", "g.gate_id")})
on conflict do nothing`;

const asksText = `
select j.id, j.lane_id, j.options, (select l.priority from lane l where l.lane_id = j.lane_id) as priority,
  (select m.meter_id from meter m
    where m.tenant_id = j.tenant_id and m.declared_key = j.options #>> '{inFlight,key}') as key_meter_id
from unnest($1::uuid[]) i (id) join job j on ${isByKey("j.id", "i.id")}
where j.state = ${JobState.Ready}`;

const levelsText = `select ${levelColumns} from meter_level where meter_id = any($1::integer[])`;

interface AskRow {
  readonly id: string;
  readonly lane_id: number;
  readonly options: JobOptions | null;
  readonly priority: number;
  readonly key_meter_id: number | null;
}

/** Of jobs that are ready, what each asks for. */
export interface ReadAsk extends MeterAsk {
  readonly laneId: number;
  readonly priority: number;
}

/**
 * @param wanted the jobs, with their scores and the meters before their lanes
 * @returns null when a declared key has no meter yet
 */
export async function readAsks(
  query: Query,
  wanted: ReadonlyMap<string, ClaimItem>,
): Promise<ReadAsk[] | null> {
  const { rows } = await query<AskRow>({
    name: "read_asks",
    text: asksText,
    values: [uuidArray([...wanted.keys()])],
  });
  if (rows.some(({ options, key_meter_id }) => options?.inFlight && key_meter_id === null)) return null;
  return rows.map((row) => {
    const { score = 0, meterIds = [] } = wanted.get(row.id) as ClaimItem;
    const keyMeterId = row.key_meter_id;
    return {
      ...toAsk(row.id, score, row.options, keyMeterId),
      isCritical: row.priority === Priority.Critical,
      // A key is asked last of the caps: what a whole lane waits at is said first.
      meterIds: keyMeterId === null ? meterIds : [...meterIds, keyMeterId],
      laneId: row.lane_id,
      priority: row.priority,
    };
  });
}

function toAsk(jobId: string, score: number, options: JobOptions | null, keyMeterId: number | null) {
  const { inFlight, estimate } = options ?? {};
  return {
    jobId,
    score,
    cost: estimate?.costMicroUsd ?? 0,
    tokens: estimate?.tokens ?? 0,
    declared: inFlight && keyMeterId !== null ? { meterId: keyMeterId, jobsMax: inFlight.jobsMax } : null,
  };
}

/** Levels by meter; a meter that was never asked is missing. */
export async function readLevels(query: Query, meterIds: readonly number[]): Promise<Map<number, ReadLevel>> {
  const { rows } = await query<LevelRow>({
    name: "read_levels",
    text: levelsText,
    values: [numberArray(meterIds)],
  });
  return new Map(rows.map((row) => [row.meter_id, toLevel(row)]));
}

export function readMeterLevels(db: ReadPool, meterIds: readonly number[]): Promise<Map<number, ReadLevel>> {
  return readLevels((query) => db.query(query), meterIds);
}

/** What the first of the jobs ask for that are parked at a meter, in the order in which they return. */
export async function readParkedAsks(db: ReadPool, meterId: number, limit: number): Promise<MeterAsk[]> {
  const { rows } = await db.query<{
    id: string;
    options: JobOptions | null;
    priority: number;
    score: number;
  }>({
    name: "read_parked_asks",
    text: `
      select j.id, j.options, l.priority, p.score
      from (select job_id, score from parked where gate_id = $1 order by score desc, job_id limit $2) p
      join job j on ${isByKey("j.id", "p.job_id")} join lane l on ${isByKey("l.lane_id", "j.lane_id")}
      order by p.score desc, p.job_id`,
    values: [meterId, limit],
  });
  return rows.map((row) => ({
    ...toAsk(row.id, row.score, row.options, meterId),
    isCritical: row.priority === Priority.Critical,
    meterIds: [meterId],
  }));
}

/** What the first job asks for that is parked at each of these meters. */
export async function readParkedHeads(
  db: ReadPool,
  meterIds: readonly number[],
): Promise<Map<number, MeterAsk>> {
  const { rows } = await db.query<{
    meter_id: number;
    id: string;
    options: JobOptions | null;
    score: number;
  }>({
    name: "read_parked_heads",
    text: `
      select m.meter_id, j.id, j.options, p.score from unnest($1::integer[]) as m (meter_id)
      cross join lateral (
        select job_id, score from parked where gate_id = m.meter_id order by score desc, job_id limit 1) p
      join job j on ${isByKey("j.id", "p.job_id")}`,
    values: [numberArray(meterIds)],
  });
  return new Map(
    rows.map(({ meter_id, id, options, score }) => [
      meter_id,
      { ...toAsk(id, score, options, meter_id), isCritical: false, meterIds: [meter_id] },
    ]),
  );
}

/** How much of a declared key is taken; null when nothing ever was. */
export async function readKeyLevel(db: ReadPool, tenantId: number, key: string): Promise<ReadLevel | null> {
  const { rows } = await db.query<LevelRow>({
    name: "read_key_level",
    text: `select ${levelColumns} from meter_level where tenant_id = $1 and declared_key = $2`,
    values: [tenantId, key],
  });
  return rows[0] ? toLevel(rows[0]) : null;
}

/** Forgets meters of declared keys that nobody has used for long; at most so many. */
export async function forgetIdleKeys(db: ReadPool, idleMs: number, limit: number): Promise<number> {
  const { rowCount } = await db.query({
    name: "forget_idle_keys",
    text: `
      with found as materialized (
        select m.meter_id from meter m
        where m.meter_id < 0 and m.jobs = 0 and m.used_at < now() - $1 * interval '1 ms'
          and not exists (select from parked p where ${isByKey("p.gate_id", "m.meter_id")})
          and not exists (select from hold_end e where ${isByKey("e.meter_id", "m.meter_id")})
        order by m.meter_id limit $2 for update of m skip locked
      )
      delete from meter m using found f where ${isByKey("m.meter_id", "f.meter_id")}`,
    values: [idleMs, limit],
  });
  return rowCount ?? 0;
}
