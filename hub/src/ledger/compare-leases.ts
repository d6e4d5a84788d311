import { JobState } from "../domain/job-state.js";
import type { Outcome } from "../domain/outcome.js";
import { deadlineCode } from "./fire-timers.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** A lease as a hub remembers it. */
export interface RememberedLease {
  readonly jobId: string;
  readonly fencingToken: bigint;
}

/** What became of it in the ledger, if not nothing. */
export type LeaseChange = RememberedLease &
  (
    | { readonly type: "cancelling"; readonly graceMs: number; readonly reason: string }
    | { readonly type: "cancelled"; readonly reason: string }
    | { readonly type: "deadline" }
    /** The job went back to its lane, or to another worker. */
    | { readonly type: "taken" }
  );

const compareText = `
select i.id, i.token, j.state, j.fencing_token = i.token as is_current, j.outcome,
  greatest(extract(epoch from j.cancel_by - now()) * 1000, 0)::float8 as grace_ms
from unnest($1::uuid[], $2::bigint[]) as i (id, token)
join job j on ${isByKey("j.id", "i.id")}
where (j.fencing_token <> i.token or j.state <> ${JobState.Leased} or j.cancel_by is not null)
  and j.outcome_token is distinct from i.token`;

/** Those leases that are being cancelled or were taken away. What its own worker reported is no change. */
export async function compareLeases(
  db: ReadPool,
  leases: readonly RememberedLease[],
): Promise<LeaseChange[]> {
  const { rows } = await db.query<{
    id: string;
    token: string;
    state: JobState;
    is_current: boolean;
    outcome: Exclude<Outcome, { readonly type: "success" }> | null;
    grace_ms: number | null;
  }>({
    name: "compare_leases",
    text: compareText,
    values: [
      uuidArray(leases.map((lease) => lease.jobId)),
      numberArray(leases.map((lease) => lease.fencingToken)),
    ],
  });
  return rows.map(({ id, token, state, is_current, outcome, grace_ms }): LeaseChange => {
    const lease = { jobId: id, fencingToken: BigInt(token) };
    const reason = outcome?.type === "cancelled" ? outcome.reason : "";
    if (is_current && state === JobState.Leased)
      return { ...lease, type: "cancelling", graceMs: Math.ceil(grace_ms ?? 0), reason };
    if (state === JobState.Cancelled) return { ...lease, type: "cancelled", reason };
    const isLate = state === JobState.Dead && outcome?.type === "failure" && outcome.code === deadlineCode;
    return { ...lease, type: isLate ? "deadline" : "taken" };
  });
}
