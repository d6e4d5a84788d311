// The states of an effect, and what each act on it does (D16, D17).
//
//            claim                        complete
//   (none) ────────► HELD ──────────────────────────────► COMPLETED (final)
//                    ▲  │ ▲ renew
//              claim │  │ └─┐  claim once the lease ran out: taken over, token + 1
//                    │  ▼   │
//                    OPEN ◄─┘  release · abandon, by the holder or an operator
//
// The lease of an effect is its own, by the ledger's clock. Running out changes nothing by itself: it only permits a
// take-over, and until then the holder may still renew and complete. Each grant has a higher effect token, and a holder
// acts under its token. An effect of a job is also fenced by the job's lease, which is settled before.
//
// The numbers are stored in the ledger and sent on the wire (holdfast.v1.EffectState): they never change. The ledger
// repeats the rules in the WHERE of its statements.
import { createHash } from "node:crypto";

export const EffectState = { Open: 1, Held: 2, Completed: 3 } as const;
export type EffectState = (typeof EffectState)[keyof typeof EffectState];

/** Names an effect within its tenant: of a job, or of a scope. */
export type EffectName =
  | { readonly jobId: string; readonly scope: null; readonly key: string }
  | { readonly jobId: null; readonly scope: string; readonly key: string };

/** What decisions about an effect rest on. */
export interface EffectRecord {
  readonly state: EffectState;
  readonly effectToken: bigint;
  /** Of the holder, or the last one. */
  readonly subject: string;
  readonly requestId: string;
  readonly heldUntilMs: number;
  /** Of the result; only when completed. */
  readonly fingerprint: string | null;
}

export type EffectAct =
  | { readonly type: "claim"; readonly subject: string; readonly requestId: string }
  | { readonly type: "renew"; readonly subject: string; readonly effectToken: bigint }
  | {
      readonly type: "complete";
      readonly subject: string;
      readonly effectToken: bigint;
      readonly fingerprint: string;
    }
  /** Release, and abandonment by the holder. */
  | { readonly type: "give_back"; readonly subject: string; readonly effectToken: bigint }
  /** Abandonment by an operator. */
  | { readonly type: "take_away" };

/**
 * - `granted`, `changed`: it is done, and so written.
 * - `repeated`: this very act was written before.
 * - `held`, `completed`: as the effect is; nothing changes.
 * - `stale`: the actor's lease of the job, or of the effect, is not current; nothing changes.
 */
export type EffectDecision =
  | { readonly type: "granted"; readonly effectToken: bigint; readonly isTakenOver: boolean }
  | { readonly type: "changed" | "repeated" | "held" | "completed" | "absent" }
  | { readonly type: "stale"; readonly of: "job" | "effect" };

/**
 * What an act does to an effect.
 *
 * @param effect null when it was never claimed
 * @param isLeased whether the actor holds the lease of the effect's job; true for an effect of no job
 */
export function decideEffect(
  effect: EffectRecord | null,
  act: EffectAct,
  nowMs: number,
  isLeased: boolean,
): EffectDecision {
  if (act.type === "take_away") return decideTakeAway(effect);
  // Whoever completed it and lost the answer is told so, whatever became of the job since.
  if (act.type === "complete" && effect && isSameCompletion(effect, act)) return { type: "repeated" };
  if (!isLeased) return { type: "stale", of: "job" };
  if (act.type === "claim") return decideClaim(effect, act, nowMs);
  if (!effect) return { type: "absent" };
  if (effect.state === EffectState.Completed) return { type: "completed" };
  if (effect.effectToken !== act.effectToken || effect.subject !== act.subject)
    return { type: "stale", of: "effect" };
  if (effect.state === EffectState.Held) return { type: "changed" };
  return act.type === "give_back" ? { type: "repeated" } : { type: "stale", of: "effect" };
}

function decideClaim(
  effect: EffectRecord | null,
  act: Extract<EffectAct, { type: "claim" }>,
  nowMs: number,
): EffectDecision {
  if (!effect) return { type: "granted", effectToken: 1n, isTakenOver: false };
  if (effect.state === EffectState.Completed) return { type: "completed" };
  const isHeld = effect.state === EffectState.Held;
  if (isHeld && nowMs < effect.heldUntilMs) {
    const isOwn = effect.subject === act.subject && effect.requestId === act.requestId;
    return { type: isOwn ? "repeated" : "held" };
  }
  return { type: "granted", effectToken: effect.effectToken + 1n, isTakenOver: isHeld };
}

function decideTakeAway(effect: EffectRecord | null): EffectDecision {
  if (!effect) return { type: "absent" };
  if (effect.state === EffectState.Completed) return { type: "completed" };
  return { type: effect.state === EffectState.Held ? "changed" : "repeated" };
}

function isSameCompletion(effect: EffectRecord, act: Extract<EffectAct, { type: "complete" }>): boolean {
  return (
    effect.state === EffectState.Completed &&
    effect.effectToken === act.effectToken &&
    effect.subject === act.subject &&
    effect.fingerprint === act.fingerprint
  );
}

/** SHA-256 of a result and its content type, in hexadecimal: tells the same completion from another. */
export function effectFingerprint(result: Uint8Array, contentType: string): string {
  return createHash("sha256").update(`${contentType}\0`).update(result).digest("hex");
}
