import type { Gate, GateSettings, GateType } from "../domain/gate.js";
import { parseTarget, targetText } from "../domain/gate.js";
import type { Operator } from "../domain/operation.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";

const gateColumns = `gate_id, tenant_id, type, target, settings, state, ${toMs("since")} as since_ms`;

interface GateRow {
  readonly gate_id: number;
  readonly tenant_id: number;
  readonly type: Gate["type"];
  readonly target: string;
  readonly settings: unknown;
  readonly state: unknown;
  readonly since_ms: number;
}

/** Of which epoch the gates are at a moment of the ledger's clock. */
export interface GateEpoch {
  readonly epoch: number;
  readonly nowMs: number;
}

/** What every gate is at that moment. */
export interface GateSnapshot extends GateEpoch {
  readonly gates: readonly Gate[];
}

const epochColumns = `e.epoch, ${toMs("clock_timestamp()")} as now_ms`;

interface EpochRow {
  readonly epoch: string;
  readonly now_ms: number;
}

function toEpoch(row: EpochRow | undefined): GateEpoch {
  return { epoch: Number(row?.epoch), nowMs: Number(row?.now_ms) };
}

// The only place where rows become gates: what is stored was checked when it was set.
function toGate(row: GateRow): Gate {
  return {
    gateId: row.gate_id,
    tenantId: row.tenant_id,
    type: row.type,
    target: parseTarget(row.target),
    settings: row.settings,
    state: row.state,
    sinceMs: row.since_ms,
  } as Gate;
}

/** All gates and the epoch that they are of, in one snapshot. */
export async function readGates(db: ReadPool): Promise<GateSnapshot> {
  const { rows } = await db.query<GateRow & EpochRow & { gate_id: number | null }>({
    name: "read_gates",
    text: `select ${epochColumns}, ${gateColumns} from gate_epoch e left join gate g on true order by gate_id`,
  });
  return {
    ...toEpoch(rows[0]),
    gates: rows.filter((row) => row.gate_id !== null).map(toGate),
  };
}

export async function readGateEpoch(db: ReadPool): Promise<GateEpoch> {
  const { rows } = await db.query<EpochRow>({
    name: "read_gate_epoch",
    text: `select ${epochColumns} from gate_epoch e where e.is_only`,
  });
  return toEpoch(rows[0]);
}

/** The part of a statement by which all hubs look at the gates again before they claim. */
const turnEpoch = "turned as (update gate_epoch set epoch = epoch + 1 where is_only)";

/** The gate as it stands, locked: what is kept of a change is what it changed. */
const lockBefore = `before as materialized (
        select settings from gate where tenant_id = $1 and type = $2 and target = $3 for update
      )`;

/** What became of the gate, with the operator ($5 to $7) and the action ($8). */
const recordChange = `changed as (
        select tenant_id as operation_tenant, $8::text as action, target,
          (select settings from before) as before, settings as after
        from made
      ), ${recordOperation("changed", 5)}`;

/** What was spent in the current window of a budget, and is spent in the one that becomes current, if that began later. */
const moveSpend = `moved as materialized (
        select m.meter_id, window_start(b.settings, now()) as began_at, window_start(g.settings, now()) as begins_at
        from made g cross join before b join meter m on ${isByKey("m.meter_id", "g.gate_id")}
        for update of m
      ), counted as (
        update meter m set window_began_at = w.begins_at from moved w
        where ${isByKey("m.meter_id", "w.meter_id")} and m.window_began_at >= w.began_at
          and m.window_began_at < w.begins_at
      ), uncounted as (
        update hold_end e set at = w.begins_at from moved w
        where ${isByKey("e.meter_id", "w.meter_id")} and e.at >= w.began_at and e.at < w.begins_at
      )`;

/**
 * Sets a gate, or changes its settings; what work has made of it stays.
 *
 * @param kept names of settings that only a new gate begins with: one that stands keeps its own
 */
export async function setGate(
  db: ReadPool,
  operator: Operator,
  action: string,
  target: Gate["target"],
  { type, settings }: GateSettings,
  kept: readonly string[] = [],
): Promise<Gate> {
  const { rows } = await db.query<GateRow>({
    name: "set_gate",
    text: `
      with ${turnEpoch}, ${lockBefore}, made as (
        insert into gate (tenant_id, type, target, settings)
        select $1, $2, $3, $4::jsonb from (select count(*) from before) locked
        on conflict (tenant_id, type, target) do update set
          settings = excluded.settings || (
            select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(gate.settings) where key = any($9::text[])
          ), since = now()
        returning *
      ), ${moveSpend}, ${recordChange}
      select ${gateColumns} from made`,
    values: [
      operator.tenantId,
      type,
      targetText(target),
      JSON.stringify(settings),
      ...operatorValues(operator),
      action,
      kept,
    ],
  });
  return toGate(rows[0] as GateRow);
}

/** Changes some of a gate's settings, whatever the others are by then; null when there is none. */
export async function changeGate(
  db: ReadPool,
  operator: Operator,
  action: string,
  target: Gate["target"],
  type: GateType,
  change: Partial<GateSettings["settings"]>,
): Promise<Gate | null> {
  const { rows } = await db.query<GateRow>({
    name: "change_gate",
    text: `
      with ${turnEpoch}, ${lockBefore}, made as (
        update gate g set settings = g.settings || $4::jsonb, since = now() from before
        where g.tenant_id = $1 and g.type = $2 and g.target = $3
        returning g.*
      ), ${recordChange}
      select ${gateColumns} from made`,
    values: [
      operator.tenantId,
      type,
      targetText(target),
      JSON.stringify(change),
      ...operatorValues(operator),
      action,
    ],
  });
  return rows[0] ? toGate(rows[0]) : null;
}

/** Removes a gate; false when there is none. Jobs that it stopped return to their lanes. */
export async function removeGate(
  db: ReadPool,
  operator: Operator,
  action: string,
  target: Gate["target"],
  type: GateType,
): Promise<boolean> {
  const { rows } = await db.query<{ gate_id: number }>({
    name: "remove_gate",
    text: `
      with ${turnEpoch}, gone as (
        delete from gate where tenant_id = $1 and type = $2 and target = $3 returning *
      ), changed as (
        select tenant_id as operation_tenant, $7::text as action, target, settings as before, null::jsonb as after
        from gone
      ), ${recordOperation("changed", 4)}
      select gate_id from gone`,
    values: [operator.tenantId, type, targetText(target), ...operatorValues(operator), action],
  });
  return rows.length > 0;
}

/** Of some gates, how many jobs are parked at each, counted up to `countMax`, and since when the first waits. */
export async function readParked(
  db: ReadPool,
  gateIds: readonly number[],
  countMax: number,
): Promise<ReadonlyMap<number, { readonly jobs: number; readonly sinceMs: number | null }>> {
  const { rows } = await db.query<{ gate_id: number; jobs: number; since_ms: number | null }>({
    name: "read_parked",
    text: `
      select g.gate_id, p.jobs, p.since_ms from unnest($1::integer[]) as g (gate_id)
      cross join lateral (
        select count(*)::integer as jobs, ${toMs("min(since)")} as since_ms from (
          select since from parked where gate_id = g.gate_id order by score desc limit $2) waiting) p`,
    values: [gateIds, countMax],
  });
  return new Map(rows.map((row) => [row.gate_id, { jobs: row.jobs, sinceMs: row.since_ms }]));
}

/** Where a job is parked; null when it is not. */
export async function readParking(
  db: ReadPool,
  jobId: string,
): Promise<{
  readonly gateId: number;
  readonly reason: string;
  readonly sinceMs: number;
  readonly nextAtMs: number | null;
} | null> {
  const { rows } = await db.query<{
    gate_id: number;
    reason: string;
    since_ms: number;
    next_at_ms: number | null;
  }>({
    name: "read_parking",
    text: `select gate_id, reason, ${toMs("since")} as since_ms, ${toMs("next_at")} as next_at_ms
      from parked where job_id = $1`,
    values: [jobId],
  });
  const row = rows[0];
  return row
    ? { gateId: row.gate_id, reason: row.reason, sinceMs: row.since_ms, nextAtMs: row.next_at_ms }
    : null;
}

/**
 * Gates that jobs are parked at, whether they stand or were removed, and meters of declared keys, whose numbers are
 * negative. A walk from one to the next along the index; at most so many.
 */
export async function listParkedGates(db: ReadPool, afterId: number, limit: number): Promise<number[]> {
  const { rows } = await db.query<{ gate_id: number }>({
    name: "list_parked_gates",
    text: `
      with recursive walk as (
        (select gate_id from parked where gate_id > $1 order by gate_id limit 1)
        union all
        select (select p.gate_id from parked p where p.gate_id > w.gate_id order by p.gate_id limit 1)
        from walk w where w.gate_id is not null
      )
      select gate_id from walk where gate_id is not null limit $2`,
    values: [afterId, limit],
  });
  return rows.map((row) => row.gate_id);
}
