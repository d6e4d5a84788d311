import type { EffectName, EffectState } from "./effect.js";

/** An effect as readers see it. Times in milliseconds since 1970. */
export interface EffectView {
  readonly name: EffectName;
  readonly state: EffectState;
  readonly effectToken: bigint;
  readonly holder: EffectHolder;
  readonly claimedAtMs: number;
  readonly heldUntilMs: number;
  readonly isTakenOver: boolean;
  readonly completedAtMs: number | null;
  /** Empty unless it was asked for. */
  readonly result: Uint8Array;
  readonly contentType: string;
  readonly resultBytes: number;
  readonly abandonment: { readonly atMs: number; readonly by: string; readonly reason: string } | null;
}

export interface EffectHolder {
  readonly subject: string;
  /** null for an effect that was claimed without a session. */
  readonly sessionId: string | null;
}
