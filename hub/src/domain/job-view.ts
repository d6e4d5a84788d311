import type { Fairness, JobOptions, Priority } from "./job-spec.js";
import type { JobEventType, JobState } from "./job-state.js";
import type { Outcome } from "./outcome.js";
import type { AwaitedPlace } from "./wait.js";

/** A job as readers see it. Times in milliseconds since 1970. */
export interface JobView {
  readonly jobId: string;
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly priority: Priority;
  readonly capabilities: readonly string[];
  /** Empty: none. */
  readonly source: string;
  /** With the newest weight that was declared for the key. */
  readonly fairness: Fairness;
  readonly options: JobOptions;
  readonly state: JobState;
  readonly attempt: number;
  readonly attemptsMax: number;
  readonly fencingToken: bigint;
  readonly revision: number;
  readonly submittedAtMs: number;
  readonly runAtMs: number | null;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly deadlineMs: number | null;
  readonly sessionId: string | null;
  readonly outcome: Outcome | null;
  readonly progress: { readonly percent: number; readonly message: string; readonly at: string } | null;
  readonly checkpointSequence: bigint;
  /** Empty unless it was asked for. */
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** Null when it stands alone, or was not asked for. */
  readonly runId: string | null;
  /** What it is suspended for; absent when it is not, or was not asked for. */
  readonly awaits?: AwaitedPlace;
}

export interface JobFilter {
  /** Empty: all. */
  readonly states: readonly JobState[];
  readonly kind: string;
  readonly queue: string;
  readonly product: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly submittedAfterMs: number;
}

export interface JobPage {
  readonly jobs: readonly JobView[];
  /** Jobs before this id are on the next page; null at the end. */
  readonly nextBeforeId: string | null;
}

/** One state change of a job. */
export interface JobEvent {
  readonly eventId: string;
  readonly jobId: string;
  readonly type: JobEventType;
  readonly state: JobState;
  readonly revision: number;
  readonly attempt: number;
  readonly fencingToken: bigint;
  readonly sessionId: string | null;
  readonly reason: string;
  readonly atMs: number;
}
