import type { JobOptions } from "./job-spec.js";

/** A granted lease, with all that its worker needs. */
export interface GrantedLease {
  readonly jobId: string;
  readonly laneId: number;
  readonly fencingToken: bigint;
  readonly attempt: number;
  readonly attemptsMax: number;
  readonly payload: Uint8Array;
  readonly contentType: string;
  readonly checkpoint: { readonly sequence: bigint; readonly state: Uint8Array } | null;
  readonly options: JobOptions;
  readonly deadlineMs: number | null;
  readonly submittedAtMs: number;
}
