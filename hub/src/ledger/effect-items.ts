// What the statements on effects have in common: who acts on which effect, and under which lease of its job.
import type { EffectName } from "../domain/effect.js";
import { JobState } from "../domain/job-state.js";
import { firstUuid } from "../domain/uuid.js";
import { isByKey, isByKeyOf, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** Who acts on which effect. */
export interface EffectItem {
  readonly tenantId: number;
  readonly subject: string;
  readonly name: EffectName;
  /** With an effect of a job: the lease under which they act. null: they act without one. */
  readonly lease: {
    /** null: whatever session of the subject holds the lease. */
    readonly sessionId: string | null;
    readonly fencingToken: bigint;
  } | null;
}

export const effectItemBytes = (item: EffectItem) => 512 + 2 * item.name.key.length;

/** An effect of no job has this in place of one. */
export const noJob = `'${firstUuid}'::uuid`;

/** Names of the columns that `effectColumns` binds, in order. */
export const effectColumnNames = "tenant_id, job_id, scope, key, subject, session_id, fencing_token";
/** Their types, from parameter `first` on. */
export function effectColumnTypes(first: number): string {
  const types = ["integer", "uuid", "text", "text", "text", "uuid", "bigint"];
  return types.map((type, at) => `$${first + at}::${type}[]`).join(", ");
}

export function effectColumns(items: readonly EffectItem[]): unknown[] {
  return [
    numberArray(items.map((item) => item.tenantId)),
    uuidArray(items.map((item) => item.name.jobId ?? firstUuid)),
    items.map((item) => item.name.scope ?? ""),
    items.map((item) => item.name.key),
    items.map((item) => item.subject),
    items.map((item) => item.lease?.sessionId ?? null),
    numberArray(items.map((item) => item.lease?.fencingToken ?? null)),
  ];
}

/** Joins the input `i` with the effect `e` that it names. */
export const isNamed = isByKeyOf("e", "i", "tenant_id", "job_id", "scope", "key");

/**
 * Joins the input `i` with its job `j`, as leased under the input's token by a session of its tenant and subject (D4).
 */
export const joinLease = `
  join job j on ${isByKey("j.id", "i.job_id")} and j.tenant_id = i.tenant_id and j.fencing_token = i.fencing_token
    and j.state = ${JobState.Leased} and j.session_id = coalesce(i.session_id, j.session_id)
  join session s on ${isByKey("s.session_id", "j.session_id")} and s.tenant_id = i.tenant_id and s.subject = i.subject`;

/**
 * The part of a statement that finds the items whose lease stands. It locks the jobs, so that none changes hands until
 * what is done under its lease is in.
 */
export function leasedItems(lock: "share" | "no key update"): string {
  return `leased as (select i.ordinal from input i ${joinLease} for ${lock} of j)`;
}

/** Of the input `i`: it needs no lease, or has it. */
export const isFenced = `(i.job_id = ${noJob} or exists (select from leased l where l.ordinal = i.ordinal))`;
