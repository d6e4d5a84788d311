import { JobEventType, JobState } from "../domain/job-state.js";
import { endJobs, lockRuns } from "./advance-runs.js";
import { distinctItems, tenantJobKey } from "./distinct-items.js";
import type { BatchStatement } from "./group-commit.js";
import { isByKey, linkHistory, numberArray, toMs, writePage } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface CancelItem {
  readonly jobId: string;
  readonly tenantId: number;
  readonly reason: string;
  /** How long a lease still stands; 0: it ends now. */
  readonly graceMs: number;
}

export type CancelResult =
  | {
      readonly type: "cancelled" | "requested";
      /** The lease that was taken away, or will be after the grace. */
      readonly lease: { readonly sessionId: string; readonly fencingToken: bigint } | null;
      /** When the grace ends; only when requested. */
      readonly dueAtMs: number | null;
    }
  | { readonly type: "already_cancelled" }
  | { readonly type: "terminal"; readonly state: JobState }
  | { readonly type: "not_found" };

// The row is locked first, so that "before" is what the update changes: the session to be told is known.
const cancelText = `
with input as (
  select * from unnest($3::uuid[], $4::integer[], $5::text[], $6::float8[]) as i (id, tenant_id, reason, grace_ms)
), before as (
  select j.id, j.session_id, j.fencing_token, i.reason, i.grace_ms,
    j.state = ${JobState.Leased} and i.grace_ms > 0 as is_graceful
  from input i join job j on ${isByKey("j.id", "i.id")} and j.tenant_id = i.tenant_id
  where j.state < ${JobState.Succeeded}
  for update of j
), cancelled as (
  update job j set
      state = case when b.is_graceful then j.state else ${JobState.Cancelled} end,
      finished_at = case when b.is_graceful then null else now() end,
      fencing_token = j.fencing_token + case when b.is_graceful then 0 else 1 end,
      session_id = case when b.is_graceful then j.session_id end,
      delivery = case when b.is_graceful then j.delivery end,
      cancel_by = case when b.is_graceful then now() + b.grace_ms * interval '1 ms' end,
      outcome = jsonb_build_object('type', 'cancelled', 'reason', b.reason), ${linkHistory}
  from before b
  where ${isByKey("j.id", "b.id")}
  returning j.*, b.session_id as event_session, b.fencing_token as token_before, b.is_graceful,
    case when b.is_graceful then ${JobEventType.CancelRequested} else ${JobEventType.Cancelled} end::smallint as event,
    nullif(b.reason, '') as reason
), timers as (
  insert into timer (purpose, due_at, job_id, guard)
  select 3, cancel_by, id, fencing_token from cancelled where is_graceful
  on conflict do nothing
), ${writePage("cancelled")}
select id, tenant_id, is_graceful, event_session, token_before, ${toMs("cancel_by")} as due_at_ms from cancelled`;

const refusedText = "select id, tenant_id, state from job where id = any($1)";

/** Cancels open jobs (D4: the token rises, unless the worker was given a grace period). */
export const cancelJobs: BatchStatement<CancelItem, CancelResult> = {
  name: "cancel_jobs",
  itemsMax: 200,
  bytesMax: 1 << 20,
  bytesOf: (item) => 64 + item.reason.length,
  run: async (on, items) => {
    const byJob = distinctItems(items, tenantJobKey);
    const distinct = [...byJob.values()];
    const ids = distinct.map((item) => item.jobId);
    const { rows, advanced } = await endJobs<{
      id: string;
      tenant_id: number;
      is_graceful: boolean;
      event_session: string | null;
      token_before: string;
      due_at_ms: number | null;
    }>(on, lockRuns(ids), {
      name: "cancel_jobs",
      text: cancelText,
      values: [
        on.writerId,
        on.batch,
        uuidArray(ids),
        numberArray(distinct.map((item) => item.tenantId)),
        distinct.map((item) => item.reason),
        numberArray(distinct.map((item) => item.graceMs)),
      ],
    });
    const results = new Map<CancelItem, CancelResult>();
    for (const row of rows)
      results.set(byJob.get(tenantJobKey({ jobId: row.id, tenantId: row.tenant_id })) as CancelItem, {
        type: row.is_graceful ? "requested" : "cancelled",
        lease: row.event_session
          ? { sessionId: row.event_session, fencingToken: BigInt(row.token_before) }
          : null,
        dueAtMs: row.due_at_ms,
      });
    const refused = items.filter((item) => !results.has(item));
    if (refused.length > 0) {
      const states = await on.connection.query<{ id: string; tenant_id: number; state: JobState }>({
        name: "judge_cancels",
        text: refusedText,
        values: [uuidArray(ids)],
      });
      for (const item of refused) {
        const row = states.rows.find((row) => row.id === item.jobId && row.tenant_id === item.tenantId);
        if (!row) results.set(item, { type: "not_found" });
        else if (row.state >= JobState.Succeeded && row.state !== JobState.Cancelled)
          results.set(item, { type: "terminal", state: row.state });
        else results.set(item, { type: "already_cancelled" });
      }
    }
    return {
      results: items.map((item) => results.get(item) as CancelResult),
      wrotePage: rows.length > 0,
      advanced,
    };
  },
};
