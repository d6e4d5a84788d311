import type { Ref } from "./lane.js";
import type { EndedLease } from "./lease.js";

/** What becomes of a job because others ended. */
export type RunChange = "released" | "failed" | "cancelled" | "asked" | "compensating";

/** What others have to be told once ends of jobs that led to this are committed. */
export interface RunChanges {
  /** Jobs that may be claimed now. */
  readonly refs: readonly Ref[];
  /** Jobs that changed. */
  readonly jobIds: readonly string[];
  /** Leases whose workers are asked to stop. */
  readonly asked: readonly (EndedLease & { readonly graceMs: number })[];
  /** How many jobs met with what. */
  readonly counts: ReadonlyMap<RunChange, number>;
  /** The next time that something is due. */
  readonly dueAtMs: number | null;
}
