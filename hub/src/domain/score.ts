import type { LaneKey, Ref } from "./lane.js";

/** Weights of the score, each per unit named. */
export interface ScoreWeights {
  /** Per minute of waiting. */
  readonly age: number;
  /** Per step of priority. */
  readonly priority: number;
  /** Per start so far. */
  readonly retries: number;
  /** For a job that asks for capabilities: whoever has them should take it first. */
  readonly capabilities: number;
}

export const defaultScoreWeights: ScoreWeights = { age: 1, priority: 10, retries: -2, capabilities: 5 };

/**
 * score = w.age · age_minutes + w.priority · priority_order + w.retries · attempts + w.capabilities · bonus.
 *
 * All waiting jobs age alike, so "now" cancels out of every comparison: the score at time 0 orders them the same
 * at any time. That is what this returns, and why a head's score never has to be computed twice.
 */
export function timelessScore(weights: ScoreWeights, lane: LaneKey, ref: Ref): number {
  return (
    (-weights.age * ref.readyAtMs) / 60_000 +
    weights.priority * lane.priority +
    weights.retries * ref.attempt +
    weights.capabilities * (lane.capabilities.length > 0 ? 1 : 0)
  );
}
