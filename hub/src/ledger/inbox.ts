// What was submitted from SQL, as it waits to be adopted or, refused, for an operator. Becoming a job is submit-jobs.ts.
import type { InboxEntry, InboxRefusal, InboxView } from "../domain/inbox.js";
import type { JobOptions, Priority } from "../domain/job-spec.js";
import type { Operator } from "../domain/operation.js";
import type { RetryPolicy } from "../domain/retry.js";
import { lastUuid } from "../domain/uuid.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";
import { closeDiscarded } from "./submit-windows.js";
import { uuidArray } from "./uuid-array.js";

/** Payloads of one page, at most, beside those of its first entry. */
const pageBytesMax = 8 << 20;

interface EntryRow {
  readonly position: string;
  readonly job_id: string;
  readonly tenant_id: number;
  readonly submitted_at_ms: number;
  readonly kind: string;
  readonly product: string;
  readonly queue: string;
  readonly priority: Priority;
  readonly capabilities: string[];
  readonly source: string;
  readonly fairness_key: string;
  readonly fairness_weight: number;
  readonly labels: Record<string, string>;
  readonly idempotency_key: string;
  readonly run_at_ms: number | null;
  readonly deadline_ms: number | null;
  readonly retry: Partial<RetryPolicy> | null;
  readonly content_type: string;
  readonly options: JobOptions;
  readonly payload: Buffer;
}

const commonColumns = `
  job_id, tenant_id, ${toMs("submitted_at")} as submitted_at_ms, kind, product, queue, priority, capabilities, source,
  fairness_key, fairness_weight, labels,
  idempotency_key, floor(${toMs("run_at")}) as run_at_ms, floor(${toMs("deadline")}) as deadline_ms, content_type`;

function common(row: Omit<EntryRow, "position" | "payload" | "retry" | "options">) {
  return {
    jobId: row.job_id,
    submittedAtMs: row.submitted_at_ms,
    kind: row.kind,
    product: row.product,
    queue: row.queue,
    priority: row.priority,
    capabilities: row.capabilities,
    source: row.source,
    fairness: { key: row.fairness_key, weight: row.fairness_weight },
    idempotencyKey: row.idempotency_key,
    runAtMs: row.run_at_ms,
    deadlineMs: row.deadline_ms,
    contentType: row.content_type,
  };
}

/** Entries that wait, in order, after a position. Other hubs may be adopting them already. */
export async function readInbox(db: ReadPool, afterPosition: number, limit: number): Promise<InboxEntry[]> {
  const { rows } = await db.query<EntryRow>({
    name: "read_inbox",
    text: `
      with page as (
        select position, sum(octet_length(payload)) over (order by position) - octet_length(payload) as bytes_before
        from (select position, payload from inbox
              where refused_at is null and position > $1 order by position limit $2) waiting
      )
      select i.position, ${commonColumns}, i.retry, i.options, i.payload
      from page p join inbox i on ${isByKey("i.position", "p.position")}
      where p.bytes_before <= ${pageBytesMax} order by p.position`,
    values: [afterPosition, limit],
  });
  return rows.map((row) => ({
    ...common(row),
    position: Number(row.position),
    tenantId: row.tenant_id,
    labels: row.labels,
    retry: row.retry,
    options: row.options,
    payload: row.payload,
  }));
}

/** Entries become waiting no more: their key had made the job before, or they are refused. Repeating it is harmless. */
export async function settleInbox(
  db: ReadPool,
  existing: readonly string[],
  refused: readonly { readonly jobId: string; readonly refusal: InboxRefusal }[],
): Promise<void> {
  // What was refused before stays as it was; asked for as a condition, the index of all that wait would serve.
  await db.query({
    name: "settle_inbox",
    text: `
      with gone as (delete from inbox where job_id = any($1))
      update inbox i set refused_at = coalesce(i.refused_at, now()), refusal = coalesce(i.refusal, r.refusal)
      from unnest($2::uuid[], $3::jsonb[]) as r (job_id, refusal)
      where ${isByKey("i.job_id", "r.job_id")}`,
    values: [
      uuidArray(existing),
      uuidArray(refused.map(({ jobId }) => jobId)),
      refused.map(({ refusal }) => JSON.stringify(refusal)),
    ],
  });
}

type ViewRow = Omit<EntryRow, "position" | "payload" | "retry" | "options"> & {
  readonly submitted_by: string;
  readonly payload_bytes: number;
  readonly refusal: InboxRefusal | null;
  readonly refused_at_ms: number | null;
};

const viewColumns = `${commonColumns}, submitted_by, octet_length(payload) as payload_bytes, refusal,
  ${toMs("refused_at")} as refused_at_ms`;

function toView(row: ViewRow): InboxView {
  return {
    ...common(row),
    submittedBy: row.submitted_by,
    payloadBytes: row.payload_bytes,
    refusal: row.refusal && { ...row.refusal, atMs: row.refused_at_ms ?? 0 },
  };
}

/** Newest first, by the ids of the jobs to be. */
export async function listInbox(
  db: ReadPool,
  tenantId: number,
  refusedOnly: boolean,
  beforeId: string,
  limit: number,
): Promise<InboxView[]> {
  const { rows } = await db.query<ViewRow>({
    name: "list_inbox",
    text: `select ${viewColumns} from inbox
      where tenant_id = $1 and job_id < $3 and (not $2 or refused_at is not null) order by job_id desc limit $4`,
    values: [tenantId, refusedOnly, beforeId || lastUuid, limit],
  });
  return rows.map(toView);
}

/** What is kept of an entry among the operations; of a refusal its reason alone, for its message may quote the job. */
const recordedEntry = (entry: string) => `jsonb_strip_nulls(jsonb_build_object('kind', ${entry}.kind,
          'product', ${entry}.product, 'queue', ${entry}.queue, 'submittedBy', ${entry}.submitted_by,
          'payloadBytes', octet_length(${entry}.payload), 'refusal', ${entry}.refusal ->> 'reason'))`;

/** A refused entry waits again; one that waits already stays so. Null: there is none. */
export async function retryInboxEntry(
  db: ReadPool,
  operator: Operator,
  jobId: string,
): Promise<InboxView | null> {
  const { rows } = await db.query<ViewRow>({
    name: "retry_inbox_entry",
    text: `
      with found as materialized (
        select * from inbox where tenant_id = $1 and job_id = $2 for no key update
      ), retried as (
        update inbox i set refused_at = null, refusal = null from found f
        where ${isByKey("i.job_id", "f.job_id")} and f.refused_at is not null
        returning i.*, ${recordedEntry("f")} as stood
      ), changed as (
        select tenant_id as operation_tenant, 'inbox.retry' as action, 'inbox:' || job_id as target, stood as before,
          ${recordedEntry("r")} as after
        from retried r
      ), ${recordOperation("changed", 3)}
      select ${viewColumns} from retried
      union all select ${viewColumns} from found where refused_at is null`,
    values: [operator.tenantId, jobId, ...operatorValues(operator)],
  });
  return rows[0] ? toView(rows[0]) : null;
}

/** Removes a refused entry; answers what it was. Null: there is none that is refused. */
export async function discardInboxEntry(
  db: ReadPool,
  operator: Operator,
  jobId: string,
): Promise<InboxView | null> {
  const { rows } = await db.query<ViewRow>({
    name: "discard_inbox_entry",
    text: `
      with gone as (delete from inbox where tenant_id = $1 and job_id = $2 and refused_at is not null returning *),
      changed as (
        select tenant_id as operation_tenant, 'inbox.discard' as action, 'inbox:' || job_id as target,
          ${recordedEntry("g")} as before, null::jsonb as after
        from gone g
      ), ${recordOperation("changed", 3)}, ${closeDiscarded("gone")}
      select ${viewColumns} from gone`,
    values: [operator.tenantId, jobId, ...operatorValues(operator)],
  });
  return rows[0] ? toView(rows[0]) : null;
}

/** Whether there is such an entry, refused or not. */
export async function hasInboxEntry(db: ReadPool, tenantId: number, jobId: string): Promise<boolean> {
  const text = "select from inbox where tenant_id = $1 and job_id = $2";
  return (await db.query(text, [tenantId, jobId])).rowCount === 1;
}
