import { isTerminal, type JobState } from "./job-state.js";

/** Jobs that one replay submits. */
export const replayJobsMax = 10_000;

/** Whether a replayed job ended as its original had. The numbers are sent on the wire (holdfast.v1.ReplayVerdict). */
export const ReplayVerdict = {
  /** The digests of the outcomes are the same. */
  Same: 1,
  /** They differ. */
  Drifted: 2,
  /** The new job is open. */
  Pending: 3,
  /** The new job is not in the ledger any more. */
  Missing: 4,
} as const;
export type ReplayVerdict = (typeof ReplayVerdict)[keyof typeof ReplayVerdict];

/** A replay as readers see it. Times in milliseconds since 1970. */
export interface ReplayView {
  readonly replayId: string;
  readonly originalId: string;
  readonly isRun: boolean;
  readonly jobs: number;
  /** Of these, open ones. */
  readonly pending: number;
  readonly reason: string;
  readonly requestedBy: string;
  readonly requestedAtMs: number;
  readonly repeatsEffects: boolean;
}

/** A job of a replay beside the one that it repeats. */
export interface ReplayedJob {
  readonly jobId: string;
  readonly originalId: string;
  /** Empty when the job is gone. */
  readonly kind: string;
  readonly idempotencyKey: string;
  readonly originalState: JobState;
  readonly originalDigest: Uint8Array;
  /** Null when the job is gone. */
  readonly state: JobState | null;
  /** Null while it is open, and when it is gone. */
  readonly digest: Uint8Array | null;
}

export function replayVerdict({ state, originalDigest, digest }: ReplayedJob): ReplayVerdict {
  if (state === null) return ReplayVerdict.Missing;
  if (!isTerminal(state) || digest === null) return ReplayVerdict.Pending;
  return Buffer.compare(originalDigest, digest) === 0 ? ReplayVerdict.Same : ReplayVerdict.Drifted;
}
