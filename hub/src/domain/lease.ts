import type { JobOptions } from "./job-spec.js";
import type { ChildrenPage } from "./run-view.js";

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
  /** It holds something of a meter: its end makes room. */
  readonly isMetered?: boolean;
  /** What became of the first of its children; only of a parent. */
  readonly children?: ChildrenPage;
}

/** A lease whose worker is to be told that it ends, or has ended. */
export interface EndedLease {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint;
}
