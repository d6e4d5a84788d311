import type { LaneKey, Ref } from "./lane.js";
import type { ScoreWeights } from "./score-weights.js";

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
