import type { JobSpec } from "../domain/job-spec.js";
import { contentDigest } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { Ref } from "../domain/lane.js";
import type { GrantedLease } from "../domain/lease.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { heldForGrants } from "./held-sessions.js";
import { onJobTable } from "./job-partitions.js";
import {
  addToDelivery,
  fromMs,
  isByKey,
  isByKeyOf,
  numberArray,
  packBytes,
  textArray,
  toMs,
  writePage,
} from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface SubmitItem {
  /** A fresh UUIDv7. */
  readonly jobId: string;
  readonly tenantId: number;
  readonly laneId: number;
  readonly spec: JobSpec;
  /** Who is to have it at once, in which leases message; only for a job that waits for no time. */
  readonly leaseTo: {
    readonly sessionId: string;
    readonly delivery: number;
    /** Epoch of the gates that let it pass. */
    readonly gateEpoch: number;
  } | null;
}

export type SubmitResult =
  | {
      readonly type: "accepted";
      readonly jobId: string;
      /** Set when the job may be claimed at once. */
      readonly ref: Ref | null;
      /** Set when it was leased as it was submitted. */
      readonly lease: GrantedLease | null;
      /** Set when the job waits for a time. */
      readonly dueAtMs: number | null;
      /** The job whose unique key it took over; that one is cancelled. */
      readonly replacedJobId?: string;
    }
  | { readonly type: "existing"; readonly jobId: string }
  | { readonly type: "conflict"; readonly jobId: string }
  /** An open job has the unique key, and the submit wants none beside it. */
  | { readonly type: "held"; readonly jobId: string };

/** The columns of a job that is leased in the same breath; the others keep their defaults. */
const leasedColumns = "attempt, fencing_token, revision, session_id, delivery, started_at";
const leasedValues = `
    case when session_id is null then 0 else 1 end, case when session_id is null then 0 else 1 end,
    case when session_id is null then 1 else 2 end, session_id, delivery,
    case when session_id is null then null::timestamptz else now() end`;

/** A session that another hub holds by now gets nothing: its job waits like any other. */
const leaseOfHeldSession =
  ", h.session_id, case when h.session_id is not null then i.asked_delivery end as delivery";

/**
 * A job that is leased at once was submitted first: two events, in one page. The second links to no earlier page,
 * because links lead from page to page.
 */
const leasedParts = `
), deliveries as (
  insert into delivery (session_id, delivery, job_ids)
  select session_id, delivery, array_agg(id) from inserted where session_id is not null group by session_id, delivery
  ${addToDelivery}
), told as (
  select * from events
  union all
  select id, ${JobState.Leased}::smallint, 2, 1::smallint, 1::bigint, run_at, deadline, session_id, delivery,
    ${JobEventType.Leased}::smallint, session_id, null, null, null, null
  from inserted where session_id is not null`;

/** An entry of the inbox is gone when its job is there. */
const adoptedParts = `
), adopted as (
  delete from inbox b using inserted i where ${isByKey("b.job_id", "i.id")}`;

/**
 * Of the inbox's entries, those that no other hub adopts at this moment. That they wait is looked at afterwards: asked at
 * once, the planner might go through the index of all that wait.
 */
const entriesHere = `
here as materialized (
  select job_id from (
    select job_id, refused_at from inbox where job_id = any($3) for update skip locked offset 0) found
  where refused_at is null
), `;

/** What makes the statement longer: others need not pay for it. */
interface InsertVariant {
  readonly hasLeases: boolean;
  /** Its jobs are entries of the inbox. */
  readonly isAdopting?: boolean;
  readonly unique?: UniqueParts;
}

/** @param jobs the table that they go into */
export function insertText(jobs: string, { hasLeases, isAdopting, unique }: InsertVariant): string {
  return `
with ${hasLeases ? `${heldForGrants("$17", "$19")}, ` : ""}${isAdopting ? entriesHere : ""}${unique ? "asked" : "input"} as (
  select i.* ${hasLeases ? leaseOfHeldSession : ""} from unnest($3::uuid[], $4::integer[], $5::integer[], $6::bigint[], $7::float8[], $8::float8[],
    $9::text[], $10::text[], $11::smallint[], $12::integer[], $13::integer[], $14::text[], $15::text[]
    ${hasLeases ? ", $17::uuid[], $18::bigint[]" : ""}${unique ? ", $20::text[], $21::smallint[]" : ""})
    as i (id, tenant_id, lane_id, ready_key, run_at_ms, deadline_ms, content_type, options, attempts_max,
      payload_offset, payload_length, key, digest ${hasLeases ? ", asked_session_id, asked_delivery" : ""}${unique ? ", unique_key, unique_policy" : ""})
  ${isAdopting ? "join here on here.job_id = i.id" : ""}
  ${hasLeases ? "left join held h on h.session_id = i.asked_session_id" : ""}
${unique ? unique.before : ""}), keyed as (
  insert into idempotency (tenant_id, key, job_id, content_digest)
  select tenant_id, key, id, decode(digest, 'hex') from input where key is not null order by tenant_id, key
  on conflict do nothing
  returning job_id
), inserted as (
  insert into ${jobs} (id, tenant_id, lane_id, ready_key, state, attempts_max, submitted_at, ready_at, run_at,
    deadline, page_at, page_writer, page_batch, payload, content_type, options ${hasLeases ? `, ${leasedColumns}` : ""})
  select id, tenant_id, lane_id, ready_key,
    case when ${fromMs("run_at_ms")} > now() then ${JobState.Scheduled}
      ${hasLeases ? `when session_id is not null then ${JobState.Leased}` : ""} else ${JobState.Ready} end,
    attempts_max, now(), now(), ${fromMs("run_at_ms")}, ${fromMs("deadline_ms")}, now(), $1, $2,
    substring($16::bytea from payload_offset + 1 for payload_length), content_type, options::jsonb
    ${hasLeases ? `, ${leasedValues}` : ""}
  from input
  where key is null or id in (select job_id from keyed)
  on conflict do nothing
  returning id, state, run_at, deadline, session_id, delivery, options
), events as (
  select id, case state when ${JobState.Leased} then ${JobState.Ready}::smallint else state end as state, 1 as revision,
    0::smallint as attempt, 0::bigint as fencing_token, run_at, deadline, session_id, delivery,
    ${JobEventType.Submitted}::smallint as event, null::uuid as event_session, null::text as reason,
    null::timestamptz as prior_at, null::integer as prior_writer, null::bigint as prior_batch
  from inserted
), timers as (
  insert into timer (purpose, due_at, job_id, guard)
  select 1, run_at, id, 1 from inserted where state = ${JobState.Scheduled}
  union all
  select 2, deadline, id, 0 from inserted where deadline is not null
  union all
  select 4, ${fromMs("(options ->> 'startByMs')::float8")}, id, 0 from inserted where options ? 'startByMs'
${isAdopting ? adoptedParts : ""}${hasLeases ? leasedParts : ""}${unique ? unique.after : ""}), ${writePage(unique ? unique.told : hasLeases ? "told" : "events")}
select id, state, session_id, delivery, ${toMs("run_at")} as due_at_ms, ${toMs("now()")} as now_ms
  ${unique ? unique.columns : ""} from inserted`;
}

/** What jobs with unique keys add to the statement (submit-unique-jobs.ts). */
export interface UniqueParts {
  /** From "asked" to "input": which jobs may be inserted. */
  readonly before: string;
  readonly after: string;
  /** The part whose events are the page. */
  readonly told: string;
  readonly columns: string;
}

const plain = onJobTable("submit_jobs", (jobs) => insertText(jobs, { hasLeases: false }));
const leasing = onJobTable("submit_and_lease_jobs", (jobs) => insertText(jobs, { hasLeases: true }));
const adopting = onJobTable("adopt_jobs", (jobs) => insertText(jobs, { hasLeases: true, isAdopting: true }));

const readText = `
select id, state, session_id, delivery, ready_key, ${toMs("run_at")} as due_at_ms, ${toMs("ready_at")} as now_ms
from job where id = any($1)`;

const keyText = `
select k.job_id, k.content_digest from unnest($1::integer[], $2::text[]) with ordinality as i (tenant_id, key, n)
left join idempotency k on ${isByKeyOf("k", "i", "tenant_id", "key")} order by i.n`;

export interface InsertedRow {
  readonly id: string;
  readonly state: number;
  readonly session_id: string | null;
  readonly delivery: string | null;
  readonly due_at_ms: number | null;
  readonly now_ms: number;
  readonly ready_key?: string;
}

/** Submits jobs (D1, D2): rows, events, idempotency keys, timers and first leases in one transaction. */
export const submitJobs: BatchStatement<SubmitItem, SubmitResult> = {
  name: "submit_jobs",
  itemsMax: 500,
  bytesMax: 8 << 20,
  bytesOf: (item) => item.spec.payload.length + 512,
  run: async (on, items) => {
    const firstKey = on.reserveReadyKeys(items.length);
    const { results, missing, wrotePage } = await insertAll(on, items, firstKey, false);
    const first = missing.length > 0 ? await firstHolders(on, missing) : [];
    return { results: results.map((result) => result ?? (first.shift() as SubmitResult)), wrotePage };
  },
};

/** What became of an entry of the inbox; elsewhere: another hub adopts it, or did, or an operator removed it. */
export type AdoptResult = SubmitResult | { readonly type: "elsewhere" };

/**
 * Makes jobs of entries of the inbox, each once however many hubs try: an entry is deleted in the transaction that
 * inserts its job. One whose key was used before stays, to be settled by the caller.
 */
export const adoptJobs: BatchStatement<SubmitItem, AdoptResult> = {
  ...submitJobs,
  name: "adopt_jobs",
  run: async (on, items) => {
    const firstKey = on.reserveReadyKeys(items.length);
    const { results, missing, wrotePage } = await insertAll(on, items, firstKey, true);
    const holders = missing.length > 0 ? await findHolders(on, missing) : [];
    const judged = missing.map((item, at): AdoptResult => {
      const holder = holders[at];
      return !holder || holder.jobId === item.jobId ? { type: "elsewhere" } : judge(item, holder);
    });
    return { results: results.map((result) => result ?? (judged.shift() as AdoptResult)), wrotePage };
  },
};

/** Inserts what can be; the others have no result and are missing. */
async function insertAll(
  on: BatchContext,
  items: readonly SubmitItem[],
  firstKey: number,
  isAdopting: boolean,
): Promise<{
  readonly results: readonly (SubmitResult | undefined)[];
  readonly missing: readonly SubmitItem[];
  readonly wrotePage: boolean;
}> {
  const ids = items.map((item) => item.jobId);
  const inserted = await insert(on, items, firstKey, isAdopting);
  const rows = new Map(inserted.map((row) => [row.id, row]));
  // After a failure an earlier try may have inserted what this one did not.
  if (on.isRetry) for (const row of await readBack(on, ids)) rows.set(row.id, row);
  const results = items.map((item, at) => {
    const row = rows.get(item.jobId);
    return row ? accepted(item, row, firstKey + at) : undefined;
  });
  const missing = items.filter((_, at) => results[at] === undefined);
  return { results, missing, wrotePage: inserted.length > 0 };
}

/** The values of the statement but for what its variants add. */
export function insertValues(
  on: BatchContext,
  items: readonly SubmitItem[],
  firstKey: number,
  hasLeases: boolean,
): unknown[] {
  const specs = items.map((item) => item.spec);
  const payloads = packBytes(specs.map((spec) => spec.payload));
  const keyOf = (spec: JobSpec) => spec.idempotencyKey || null;
  return [
    on.writerId,
    on.batch,
    uuidArray(items.map((item) => item.jobId)),
    numberArray(items.map((item) => item.tenantId)),
    numberArray(items.map((item) => item.laneId)),
    numberArray(items.map((_, at) => firstKey + at)),
    numberArray(specs.map((spec) => spec.runAtMs)),
    numberArray(specs.map((spec) => spec.deadlineMs)),
    textArray(specs.map((spec) => spec.contentType || null)),
    textArray(
      specs.map((spec) => (Object.keys(spec.options).length > 0 ? JSON.stringify(spec.options) : null)),
    ),
    numberArray(specs.map((spec) => spec.retry.maxAttempts)),
    payloads.offsets,
    payloads.lengths,
    textArray(specs.map(keyOf)),
    textArray(specs.map((spec) => (keyOf(spec) ? contentDigest(spec).toString("hex") : null))),
    payloads.blob,
    ...(hasLeases
      ? [
          items.map((item) => item.leaseTo?.sessionId ?? null),
          numberArray(items.map((item) => item.leaseTo?.delivery ?? null)),
          Math.min(...items.map((item) => item.leaseTo?.gateEpoch ?? Number.MAX_SAFE_INTEGER)),
        ]
      : []),
  ];
}

async function insert(
  on: BatchContext,
  items: readonly SubmitItem[],
  firstKey: number,
  isAdopting: boolean,
): Promise<InsertedRow[]> {
  const hasLeases = isAdopting || items.some((item) => item.leaseTo);
  const statement = isAdopting ? adopting : hasLeases ? leasing : plain;
  const { rows } = await on.connection.query<InsertedRow>({
    ...statement(on.jobTable(items.map((item) => item.jobId))),
    values: insertValues(on, items, firstKey, hasLeases),
  });
  return rows;
}

export async function readBack(on: BatchContext, ids: readonly string[]): Promise<InsertedRow[]> {
  const { rows } = await on.connection.query<InsertedRow>({
    text: readText,
    values: [uuidArray(ids)],
  });
  return rows;
}

export function accepted(item: SubmitItem, row: InsertedRow, readyKey: number): SubmitResult {
  const isReady = row.state === JobState.Ready;
  const isLeased =
    row.state === JobState.Leased &&
    row.session_id === item.leaseTo?.sessionId &&
    Number(row.delivery) === item.leaseTo.delivery;
  return {
    type: "accepted",
    jobId: item.jobId,
    dueAtMs: row.state === JobState.Scheduled ? row.due_at_ms : null,
    ref: isReady
      ? {
          jobId: item.jobId,
          laneId: item.laneId,
          readyKey: row.ready_key === undefined ? readyKey : Number(row.ready_key),
          readyAtMs: row.now_ms,
          attempt: 0,
          bytes: item.spec.payload.length,
        }
      : null,
    lease: isLeased ? firstLease(item, row.now_ms) : null,
  };
}

function firstLease({ jobId, laneId, spec }: SubmitItem, submittedAtMs: number): GrantedLease {
  return {
    jobId,
    laneId,
    fencingToken: 1n,
    attempt: 1,
    attemptsMax: spec.retry.maxAttempts,
    payload: spec.payload,
    contentType: spec.contentType,
    checkpoint: null,
    options: spec.options,
    deadlineMs: spec.deadlineMs,
    submittedAtMs,
  };
}

/** Whose key it was first, for items whose key was taken: the same content, or other (D2). */
async function firstHolders(on: BatchContext, items: readonly SubmitItem[]): Promise<SubmitResult[]> {
  const holders = await findHolders(on, items);
  return items.map((item, at) => {
    const holder = holders[at];
    if (!holder) throw new Error("An idempotency key that was taken is gone.");
    return judge(item, holder);
  });
}

interface KeyHolder {
  readonly jobId: string;
  readonly digest: Buffer;
}

export function judge(item: SubmitItem, { jobId, digest }: KeyHolder): SubmitResult {
  const isSame = contentDigest(item.spec).equals(digest);
  return { type: isSame ? "existing" : "conflict", jobId };
}

/** The holder of each item's idempotency key; null where nobody holds it, or the item has none. */
export async function findHolders(
  on: BatchContext,
  items: readonly SubmitItem[],
): Promise<readonly (KeyHolder | null)[]> {
  const { rows } = await on.connection.query<{ job_id: string | null; content_digest: Buffer }>({
    name: "find_idempotency_keys",
    text: keyText,
    values: [numberArray(items.map((item) => item.tenantId)), items.map((item) => item.spec.idempotencyKey)],
  });
  return rows.map((row) => (row.job_id === null ? null : { jobId: row.job_id, digest: row.content_digest }));
}
