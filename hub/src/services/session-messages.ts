import type { Spend } from "../domain/job-spec.js";
import type { JobState } from "../domain/job-state.js";
import type { Lane } from "../domain/lane.js";
import type { GrantedLease } from "../domain/lease.js";
import type { Outcome } from "../domain/outcome.js";
import type { ScoreWeights } from "../domain/score-weights.js";
import type { EffectAnswer } from "./effect-requests.js";
import type { WaitAnswer } from "./wait-requests.js";

/** Why an item was not acceptable as it is. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the hub sends down a lease stream after its welcome. */
export type HubMessage =
  | { readonly type: "leases"; readonly delivery: number; readonly leases: readonly LaneLease[] }
  | { readonly type: "verdicts"; readonly verdicts: readonly ResultVerdict[] }
  | { readonly type: "checkpoint_saved"; readonly saved: CheckpointVerdict }
  | { readonly type: "heartbeat"; readonly echo: bigint; readonly nonce: bigint; readonly timeLeftMs: number }
  | { readonly type: "revoke"; readonly leases: readonly RevokedLease[] }
  | { readonly type: "effect_verdict"; readonly verdict: EffectVerdict }
  | { readonly type: "wait_verdict"; readonly verdict: WaitVerdict }
  | { readonly type: "drain"; readonly graceMs: number };

export interface LaneLease {
  readonly lease: GrantedLease;
  readonly lane: Lane;
}

/** A result as it came up. An item that the edge found unacceptable carries why. */
export interface IncomingResult {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly outcome: Outcome | { readonly type: "refused"; readonly refusal: Refusal };
  /** What the attempt has spent; absent when its worker does not say. */
  readonly spend?: Spend;
}

export interface ResultVerdict {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly verdict:
    | { readonly type: "committed"; readonly state: JobState }
    | { readonly type: "duplicate" }
    | { readonly type: "stale" }
    | { readonly type: "refused"; readonly refusal: Refusal };
}

export interface IncomingCheckpoint {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly sequence: bigint;
  readonly state: Uint8Array;
  readonly refusal: Refusal | null;
}

export interface CheckpointVerdict {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly sequence: bigint;
  readonly verdict:
    | { readonly type: "saved" | "duplicate" | "stale" }
    | { readonly type: "refused"; readonly refusal: Refusal };
}

/** The answer to an act on the lease stream. */
export interface EffectVerdict {
  readonly requestId: string;
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly key: string;
  readonly answer: EffectAnswer | { readonly type: "refused"; readonly refusal: Refusal };
}

/** The answer to a wait for a signal. */
export interface WaitVerdict {
  readonly requestId: string;
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly answer: WaitAnswer | { readonly type: "refused"; readonly refusal: Refusal };
}

export interface RevokedLease {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly reason: "cancelled" | "deadline" | "preempted";
  readonly graceMs: number;
  readonly message: string;
}

/** What a worker says of itself, checked. */
export interface WorkerHello {
  readonly workerName: string;
  readonly kinds: readonly string[];
  readonly capabilities: readonly string[];
  readonly products: readonly string[];
  readonly queues: readonly string[];
  /** Its own weights of the score. */
  readonly weights: Partial<ScoreWeights>;
  readonly sessionId: string | null;
  readonly held: readonly { readonly jobId: string; readonly fencingToken: bigint }[];
}

export interface HeldVerdict {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly lostReason: "session_expired" | "stale_fence" | "reported" | null;
}

export interface Welcome {
  readonly sessionId: string;
  readonly isResumed: boolean;
  readonly held: readonly HeldVerdict[];
}
