import type pg from "pg";
import type { JobOptions } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { GrantedLease } from "../domain/lease.js";
import { firstUuid } from "../domain/uuid.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { heldForGrants, heldSessionsText } from "./held-sessions.js";
import { onJobTable } from "./job-partitions.js";
import type { ReadPool } from "./read-pool.js";
import { readChildren } from "./read-runs.js";
import { addToDelivery, isByKey, linkHistory, numberArray, toMs, writePage } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface ClaimItem {
  readonly jobId: string;
  readonly sessionId: string;
  /** Number of the leases message that the grant will go into. */
  readonly delivery: number;
  /** Epoch of the gates that let it pass. */
  readonly gateEpoch: number;
  /** Its place among those that ask for the same room; none stands before another without it. */
  readonly score?: number;
  /** Meters of the gates before its lane, in the order in which they are asked; absent for none. */
  readonly meterIds?: readonly number[];
}

/** A job that a meter stopped; it is parked there. */
export interface StoppedJob {
  readonly stoppedAt: number;
  readonly reason: string;
}

/**
 * "superseded": the session is held by another hub by now, or has ended. "gates_changed": the gates are to be asked
 * again. "metered": the job declares a key and has to be claimed with it. Nothing was claimed in these cases. null: the
 * job is not ready any more.
 */
export type ClaimResult = GrantedLease | "superseded" | "gates_changed" | "metered" | null;

export const grantColumns = `
  id, lane_id, fencing_token, attempt, attempts_max, payload, content_type, options, checkpoint_sequence, meter_ids,
  ${toMs("deadline")} as deadline_ms, ${toMs("submitted_at")} as submitted_at_ms`;

const statement = onJobTable(
  "claim_jobs",
  (jobs) => `
with input as (
  select * from unnest($3::uuid[], $4::uuid[], $5::bigint[]) as i (id, session_id, delivery)
), ${heldForGrants("$6", "$7")}, granted as (
  update ${jobs} j set
      state = ${JobState.Leased}, attempt = j.attempt + 1, fencing_token = j.fencing_token + 1,
      session_id = i.session_id, delivery = i.delivery, started_at = now(), progress = null, meter_ids = null,
      ${linkHistory}
  from input i
  where ${isByKey("j.id", "i.id")} and j.state = ${JobState.Ready} and i.session_id in (select session_id from held)
    and (j.options is null or not j.options ? 'inFlight')
  returning j.id, j.lane_id, j.state, j.revision, j.attempt, j.attempts_max, j.fencing_token, j.session_id, j.delivery,
    j.payload, j.content_type, j.options, j.checkpoint_sequence, j.meter_ids, j.deadline, j.submitted_at,
    j.prior_at, j.prior_writer, j.prior_batch,
    ${JobEventType.Leased}::smallint as event, j.session_id as event_session, null::text as reason
), deliveries as (
  insert into delivery (session_id, delivery, job_ids)
  select session_id, delivery, array_agg(id) from granted group by session_id, delivery
  ${addToDelivery}
), ${writePage("granted")}
select ${grantColumns} from granted`,
);

const heldText = `
select ${grantColumns} from job
where id = any($1) and state = ${JobState.Leased}
  and (session_id, delivery) in (select * from unnest($2::uuid[], $3::bigint[]))`;

const checkpointText = "select job_id, state from checkpoint where job_id = any($1)";

export interface GrantRow {
  readonly id: string;
  readonly lane_id: number;
  readonly fencing_token: string;
  readonly attempt: number;
  readonly attempts_max: number;
  readonly payload: Buffer;
  readonly content_type: string | null;
  readonly options: JobOptions | null;
  readonly checkpoint_sequence: string;
  readonly meter_ids: readonly number[] | null;
  readonly deadline_ms: number | null;
  readonly submitted_at_ms: number;
}

/**
 * Claims jobs by key: a compare-and-set per ref (D4, D10). A ref whose job is not ready any more yields null.
 * Its cost does not grow with the backlog.
 */
export const claimJobs: BatchStatement<ClaimItem, ClaimResult> = {
  name: "claim_jobs",
  itemsMax: 512,
  bytesMax: 64 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    // One statement can change a row once: of several claims of one job only the first is tried.
    const seen = new Set<string>();
    const distinct = items.filter((item) => !seen.has(item.jobId) && seen.add(item.jobId));
    const ids = distinct.map((item) => item.jobId);
    const sessions = uuidArray(distinct.map((item) => item.sessionId));
    const deliveries = numberArray(distinct.map((item) => item.delivery));
    const holders = uuidArray([...new Set(distinct.map((item) => item.sessionId))]);
    const gateEpoch = Math.min(...distinct.map((item) => item.gateEpoch));
    const { rows: claimed } = await on.connection.query<GrantRow>({
      ...statement(on.jobTable(ids)),
      values: [on.writerId, on.batch, uuidArray(ids), sessions, deliveries, holders, gateEpoch],
    });
    const rows = on.isRetry ? await readHeld(on, ids, sessions, deliveries) : claimed;
    const grants = await toGrants((query) => on.connection.query(query), rows);
    const held = rows.length < distinct.length ? await readHeldSessions(on, holders, uuidArray(ids)) : null;
    const granted = new Map(distinct.map((item) => [item, grants.get(item.jobId) ?? null]));
    const results = items.map((item): ClaimResult => {
      const grant = granted.get(item);
      if (grant) return grant;
      if (held?.sessionIds.has(item.sessionId) === false) return "superseded";
      if (held && held.gateEpoch !== gateEpoch) return "gates_changed";
      return held?.meteredIds.has(item.jobId) ? "metered" : null;
    });
    return { results, wrotePage: claimed.length > 0 };
  },
};

export async function readHeldSessions(
  on: BatchContext,
  sessionIds: Buffer,
  jobIds: Buffer,
): Promise<{
  readonly gateEpoch: number;
  readonly sessionIds: ReadonlySet<string>;
  readonly meteredIds: ReadonlySet<string>;
}> {
  const { rows } = await on.connection.query<{
    gate_epoch: string;
    session_ids: string[];
    metered_ids: string[];
  }>({
    name: "read_held_sessions",
    text: heldSessionsText,
    values: [on.writerId, sessionIds, jobIds],
  });
  const [row] = rows;
  return {
    gateEpoch: Number(row?.gate_epoch),
    sessionIds: new Set(row?.session_ids),
    meteredIds: new Set(row?.metered_ids),
  };
}

/** After a failure: what this try or the one before granted to these very deliveries. */
export async function readHeld(
  on: BatchContext,
  ids: readonly string[],
  sessions: Buffer,
  deliveries: string,
): Promise<GrantRow[]> {
  const values = [uuidArray(ids), sessions, deliveries];
  return (await on.connection.query<GrantRow>({ text: heldText, values })).rows;
}

/** Leases that a session holds on some jobs, as they were granted; those it does not hold are missing. */
export async function readGrants(
  db: ReadPool,
  sessionId: string,
  jobIds: readonly string[],
): Promise<GrantedLease[]> {
  const { rows } = await db.query<GrantRow>(
    `select ${grantColumns} from job where id = any($1) and state = ${JobState.Leased} and session_id = $2 order by id`,
    [uuidArray(jobIds), sessionId],
  );
  return [...(await toGrants((query) => db.query(query), rows)).values()];
}

type Query = <Row extends object>(config: pg.QueryConfig) => Promise<pg.QueryResult<Row & pg.QueryResultRow>>;

/** Leases with what few of them have: a checkpoint, or children. */
export async function toGrants(query: Query, rows: readonly GrantRow[]): Promise<Map<string, GrantedLease>> {
  const states = await readCheckpoints(query, rows);
  const grants = new Map(rows.map((row) => [row.id, toGrant(row, states.get(row.id))]));
  for (const { id, options } of rows) {
    if (options?.run !== "parent") continue;
    const children = await readChildren(query, null, id, leasedChildren);
    grants.set(id, { ...(grants.get(id) as GrantedLease), children });
  }
  return grants;
}

/** What a lease of a parent holds of its children; the rest is to be asked for. */
const leasedChildren = { afterId: firstUuid, childrenMax: 1_000, bytesMax: 64 << 10 };

interface CheckpointRow {
  readonly job_id: string;
  readonly state: Buffer;
}

async function readCheckpoints(query: Query, rows: readonly GrantRow[]): Promise<Map<string, Buffer>> {
  const ids = rows.filter((row) => row.checkpoint_sequence !== "0").map((row) => row.id);
  if (ids.length === 0) return new Map();
  const { rows: saved } = await query<CheckpointRow>({
    name: "read_checkpoints",
    text: checkpointText,
    values: [uuidArray(ids)],
  });
  return new Map(saved.map((row) => [row.job_id, row.state]));
}

function toGrant(row: GrantRow, state: Buffer | undefined): GrantedLease {
  return {
    jobId: row.id,
    laneId: row.lane_id,
    fencingToken: BigInt(row.fencing_token),
    attempt: row.attempt,
    attemptsMax: row.attempts_max,
    payload: row.payload,
    contentType: row.content_type ?? "",
    checkpoint: state ? { sequence: BigInt(row.checkpoint_sequence), state } : null,
    options: row.options ?? {},
    deadlineMs: row.deadline_ms,
    submittedAtMs: row.submitted_at_ms,
    ...(row.meter_ids && { isMetered: true }),
  };
}
