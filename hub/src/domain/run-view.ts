import type { JobOptions } from "./job-spec.js";
import type { JobState } from "./job-state.js";
import type { Outcome } from "./outcome.js";
import type { RunPolicy } from "./run.js";

/** A run as readers see it, a page of its jobs at a time. Times in milliseconds since 1970. */
export interface DagPage {
  readonly runId: string;
  /** Null: its first job has no children. */
  readonly policy: RunPolicy | null;
  readonly jobs: number;
  readonly childrenFailed: number;
  readonly nodes: readonly DagNode[];
  /** Jobs after this id are on the next page; null at the end. */
  readonly nextAfterId: string | null;
}

export interface DagNode {
  readonly jobId: string;
  readonly kind: string;
  readonly idempotencyKey: string;
  readonly state: JobState;
  readonly isChild: boolean;
  readonly dependsOn: readonly { readonly jobId: string; readonly isHard: boolean }[];
  readonly waitsFor: number;
  readonly attempt: number;
  readonly submittedAtMs: number;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly failureCode: string;
  readonly compensationJobId: string;
  readonly options: JobOptions;
}

/** What became of a child, for its parent. */
export interface ChildOutcome {
  readonly jobId: string;
  readonly kind: string;
  readonly idempotencyKey: string;
  readonly state: JobState;
  /** Null while it is open. */
  readonly outcome: Outcome | null;
}

export interface ChildrenPage {
  readonly children: readonly ChildOutcome[];
  readonly total: number;
  readonly nextAfterId: string | null;
}
