// What holders of effects, and those who want to be, ask for, and what they are answered.
import type { EffectName } from "../domain/effect.js";
import type { Principal } from "../domain/scope.js";
import type { ClaimEffectResult } from "../ledger/effect-claim.js";
import type { EffectWritten } from "../ledger/effect-refusal.js";
import type { RenewEffectResult } from "../ledger/effect-renew.js";

/** Who acts on which effect. */
export interface EffectTarget {
  readonly principal: Principal;
  readonly name: EffectName;
  /** Session of a lease stream; null for calls: whatever session of the caller's subject holds the lease. */
  readonly sessionId: string | null;
  /** Of the job's lease; null for an effect of no job, and for an operator. */
  readonly fencingToken: bigint | null;
}

export type EffectRequest =
  | { readonly type: "claim"; readonly requestId: string; readonly ttlMs: number }
  | { readonly type: "renew"; readonly effectToken: bigint; readonly ttlMs: number }
  | {
      readonly type: "complete";
      readonly effectToken: bigint;
      readonly result: Uint8Array;
      readonly contentType: string;
    }
  | { readonly type: "release"; readonly effectToken: bigint }
  | { readonly type: "abandon"; readonly effectToken: bigint; readonly reason: string };

export type EffectAnswer =
  | Extract<ClaimEffectResult, { type: "acquired" | "held" | "completed" }>
  | Extract<RenewEffectResult, { type: "renewed" }>
  | EffectWritten;
