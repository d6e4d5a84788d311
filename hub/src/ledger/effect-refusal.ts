import type { JudgedEffect } from "./effect-judge.js";

/** What a completion, release or abandonment asked for is so; `isExisting`: it was before. */
export interface EffectWritten {
  readonly type: "written";
  readonly isExisting: boolean;
}

/** Why a holder's act changed nothing. */
export type EffectRefusal =
  | { readonly type: "stale"; readonly of: "job" | "effect" }
  | { readonly type: "completed" | "absent" };

export function refusalOfAct({ decision, hasJob, standing }: JudgedEffect): EffectRefusal {
  if (!hasJob || !standing) return { type: "absent" };
  if (decision.type === "completed") return { type: "completed" };
  return { type: "stale", of: decision.type === "stale" ? decision.of : "job" };
}

/** The same for acts that may have been written before. */
export function answerToAct(judged: JudgedEffect): EffectWritten | EffectRefusal {
  return judged.decision.type === "repeated" ? { type: "written", isExisting: true } : refusalOfAct(judged);
}
