import { Fault } from "../domain/fault.js";
import type { Priority } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { Lane, LaneKey, Ref } from "../domain/lane.js";
import type { ReadPool } from "./read-pool.js";
import { type RefRow, refColumns, toRef } from "./ref-row.js";
import { isByKey, toMs } from "./sql-text.js";

const laneColumns = `
  lane_id, tenant_id, product, queue, kind, priority, capabilities, source, fairness_key, fairness_weight,
  ${toMs("weight_declared_at")} as weight_declared_at_ms, is_retry, retry_lane_id, low_key`;

interface LaneRow {
  readonly lane_id: number;
  readonly tenant_id: number;
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly priority: Priority;
  readonly capabilities: string[];
  readonly source: string;
  readonly fairness_key: string;
  readonly fairness_weight: number;
  readonly weight_declared_at_ms: number;
  readonly is_retry: boolean;
  readonly retry_lane_id: number | null;
  readonly low_key: string;
}

/** A lane and where a hub that starts begins to look. */
export interface KnownLane {
  readonly lane: Lane;
  /** No job of the lane before this place waits for its first claim. */
  readonly lowKey: number;
  /** The weight of its fairness key, and when it was declared. */
  readonly fairnessWeight: number;
  readonly weightDeclaredAtMs: number;
}

function toKnownLane(row: LaneRow): KnownLane {
  return {
    lane: {
      laneId: row.lane_id,
      tenantId: row.tenant_id,
      product: row.product,
      queue: row.queue,
      kind: row.kind,
      priority: row.priority,
      capabilities: row.capabilities,
      source: row.source,
      fairnessKey: row.fairness_key,
      isRetry: row.is_retry,
      retryLaneId: row.retry_lane_id ?? row.lane_id,
    },
    lowKey: Number(row.low_key),
    fairnessWeight: row.fairness_weight,
    weightDeclaredAtMs: row.weight_declared_at_ms,
  };
}

export async function listLanes(db: ReadPool): Promise<KnownLane[]> {
  return (await db.query<LaneRow>(`select ${laneColumns} from lane order by lane_id`)).rows.map(toKnownLane);
}

/** The newer lanes, made by other hubs. */
export async function listLanesAfter(db: ReadPool, laneId: number): Promise<KnownLane[]> {
  const text = `select ${laneColumns} from lane where lane_id > $1 order by lane_id`;
  return (await db.query<LaneRow>(text, [laneId])).rows.map(toKnownLane);
}

export interface KeyWeight {
  readonly tenantId: number;
  readonly fairnessKey: string;
  readonly weight: number;
}

/** Keeps the weights that were declared for fairness keys, with every lane of theirs. */
export async function declareWeights(db: ReadPool, weights: readonly KeyWeight[]): Promise<void> {
  await db.query(
    `update lane l set fairness_weight = w.weight, weight_declared_at = now()
     from unnest($1::integer[], $2::text[], $3::integer[]) as w (tenant_id, fairness_key, weight)
     where l.tenant_id = w.tenant_id and l.fairness_key = w.fairness_key`,
    [
      weights.map(({ tenantId }) => tenantId),
      weights.map(({ fairnessKey }) => fairnessKey),
      weights.map(({ weight }) => weight),
    ],
  );
}

/** Weights that were declared in the last minutes, the newest last: what other hubs may not know yet. */
export async function readNewWeights(db: ReadPool): Promise<KeyWeight[]> {
  const { rows } = await db.query<{ tenant_id: number; fairness_key: string; fairness_weight: number }>(
    `select tenant_id, fairness_key, fairness_weight from lane
     where weight_declared_at > now() - interval '5 minutes' and fairness_key <> ''
     group by tenant_id, fairness_key, fairness_weight order by max(weight_declared_at)`,
  );
  return rows.map((row) => ({
    tenantId: row.tenant_id,
    fairnessKey: row.fairness_key,
    weight: row.fairness_weight,
  }));
}

const sameKey = `tenant_id = $1 and product = $2 and queue = $3 and kind = $4 and priority = $5 and capabilities = $6
  and source = $7 and fairness_key = $8`;

/**
 * Finds or makes a lane and its retry twin; answers both, the lane first. The weight is that of a lane that is made.
 *
 * @throws Fault LANE_LIMIT when the tenant has `lanesMax` lanes already
 */
export async function ensureLane(
  db: ReadPool,
  key: LaneKey,
  fairnessWeight: number,
  lanesMax: number,
): Promise<KnownLane[]> {
  const { tenantId, product, queue, kind, priority, capabilities, source, fairnessKey } = key;
  const values = [tenantId, product, queue, kind, priority, capabilities, source, fairnessKey];
  const find = async () =>
    (await db.query<LaneRow>(`select ${laneColumns} from lane where ${sameKey} order by is_retry`, values))
      .rows;
  const found = await find();
  if (found.length === 2) return found.map(toKnownLane);
  const count = await db.query<{ count: number }>(
    "select count(*)::integer as count from lane where tenant_id = $1 and not is_retry",
    [key.tenantId],
  );
  if ((count.rows[0]?.count ?? 0) >= lanesMax)
    throw new Fault(
      "LANE_LIMIT",
      `The tenant has ${lanesMax} lanes already; a lane is one combination of product, queue, kind, priority, capabilities, source and fairness key.`,
      { limit: "lanesPerTenantMax", value: String(lanesMax) },
    );
  const columns =
    "tenant_id, product, queue, kind, priority, capabilities, source, fairness_key, fairness_weight, is_retry";
  await db.query(
    `insert into lane (${columns}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, true) on conflict do nothing`,
    [...values, fairnessWeight],
  );
  await db.query(
    `insert into lane (${columns}, retry_lane_id)
     select $1, $2, $3, $4, $5, $6, $7, $8, $9, false, lane_id from lane where ${sameKey} and is_retry
     on conflict do nothing`,
    [...values, fairnessWeight],
  );
  return (await find()).map(toKnownLane);
}

/** Ready jobs of a lane after a place, in order. An index walk: its cost is what lies between, not the backlog. */
export async function readLanePage(
  db: ReadPool,
  laneId: number,
  afterKey: number,
  limit: number,
): Promise<Ref[]> {
  const { rows } = await db.query<RefRow>({
    name: "read_lane_page",
    text: `select ${refColumns} from job
      where lane_id = $1 and ready_key > $2 and state = ${JobState.Ready} order by ready_key limit $3`,
    values: [laneId, afterKey, limit],
  });
  return rows.map(toRef);
}

export interface StragglerPage {
  readonly refs: readonly Ref[];
  /** Where the next page begins; null at the end. */
  readonly nextJobId: string | null;
}

// Of the jobs that are looked through only what says whether they are stragglers: the sweep goes over every job there is.
const stragglersText = `
with page as materialized (
  select id, lane_id, ready_key, state from job where id > $1 order by id limit $2
), straggler as (
  select p.id as straggler_id from page p join lane l on ${isByKey("l.lane_id", "p.lane_id")}
  where p.state = ${JobState.Ready} and p.ready_key <= l.low_key
)
select ${refColumns}, next_id
from (select (select id from page order by id offset $2 - 1 limit 1) as next_id) n
left join (straggler s join job j on ${isByKey("j.id", "s.straggler_id")}) on true`;

/**
 * The backstop's backstop: looks through `scanMax` jobs by id for ready ones that lie before their lane's low
 * key, where no hub would look again (D9).
 */
export async function readStragglers(
  db: ReadPool,
  afterJobId: string,
  scanMax: number,
): Promise<StragglerPage> {
  const { rows } = await db.query<RefRow & { next_id: string | null }>({
    name: "read_stragglers",
    text: stragglersText,
    values: [afterJobId, scanMax],
  });
  return {
    refs: rows.filter((row) => row.id !== null).map(toRef),
    nextJobId: rows[0]?.next_id ?? null,
  };
}
