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

export const scoreWeightNames = ["age", "priority", "retries", "capabilities"] as const;
/** Of either sign. */
export const scoreWeightMax = 1_000;

/** Field by field, the last that sets it: defaults, then the product's, then the claim's own. */
export function mergeWeights(
  defaults: ScoreWeights,
  ...others: readonly Partial<ScoreWeights>[]
): ScoreWeights {
  return Object.assign({}, defaults, ...others);
}
