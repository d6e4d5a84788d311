import { hash } from "node:crypto";
import { JobEventType, JobState } from "./job-state.js";
import { backoffMs, isPermanent, type RetryPolicy } from "./retry.js";

/** How an attempt ended, as its worker reports it. */
export type Outcome =
  | { readonly type: "success"; readonly result: Uint8Array; readonly contentType: string }
  | {
      readonly type: "failure";
      readonly code: string;
      readonly message: string;
      readonly permanent: boolean;
      readonly retryAfterMs: number;
    }
  | { readonly type: "cancelled"; readonly reason: string };

/** What a reported outcome does to its job. */
export interface OutcomeDecision {
  readonly state: JobState;
  readonly event: JobEventType;
  /** Delay until the next attempt; only with state Scheduled. */
  readonly delayMs: number;
}

/**
 * Decides what an outcome does to a job whose current attempt it ends (D8). The ledger repeats the attempt limit
 * in its statement, so a mistaken count here cannot grant an attempt too many.
 */
export function decideOutcome(
  outcome: Outcome,
  attempt: number,
  policy: RetryPolicy,
  random: number,
): OutcomeDecision {
  switch (outcome.type) {
    case "success":
      return { state: JobState.Succeeded, event: JobEventType.Succeeded, delayMs: 0 };
    case "cancelled":
      return { state: JobState.Cancelled, event: JobEventType.Cancelled, delayMs: 0 };
    case "failure":
      if (outcome.permanent || attempt >= policy.maxAttempts || isPermanent(policy, outcome))
        return { state: JobState.Dead, event: JobEventType.Dead, delayMs: 0 };
      return {
        state: JobState.Scheduled,
        event: JobEventType.RetryScheduled,
        delayMs: backoffMs(policy, attempt, random, outcome.retryAfterMs),
      };
  }
}

/**
 * A 63-bit fingerprint of an outcome: tells "this very result was committed before" (DUPLICATE) from a different
 * result under the same fencing token (STALE), see D5. The first 8 bytes of a SHA-256, top bit cleared.
 */
export function outcomeFingerprint(outcome: Outcome): bigint {
  const isPlainSuccess =
    outcome.type === "success" && outcome.result.length === 0 && outcome.contentType === "";
  return isPlainSuccess ? plainSuccessFingerprint : fingerprintOf(outcome);
}

/** Of what most handlers report: success, and nothing to tell. */
const plainSuccessFingerprint = fingerprintOf({
  type: "success",
  result: new Uint8Array(),
  contentType: "",
});

function fingerprintOf(outcome: Outcome): bigint {
  return BigInt.asUintN(63, hash("sha256", outcomeBytes(outcome), "buffer").readBigUInt64BE());
}

function outcomeBytes(outcome: Outcome): Uint8Array {
  switch (outcome.type) {
    case "success":
      return Buffer.concat([Buffer.from(`success\0${outcome.contentType}\0`), outcome.result]);
    case "failure":
      return Buffer.from(
        `failure\0${outcome.code}\0${outcome.permanent}\0${outcome.retryAfterMs}\0${outcome.message}`,
      );
    case "cancelled":
      return Buffer.from(`cancelled\0${outcome.reason}`);
  }
}
