import type { ScoreWeights } from "./score-weights.js";

/** What operators set for a product. */
export interface Product {
  readonly tenantId: number;
  readonly name: string;
  /** Those that were set. */
  readonly weights: Partial<ScoreWeights>;
  /** By the ledger's clock; null when nothing was ever set. */
  readonly changedAtMs: number | null;
}

export interface WeightChange {
  readonly set: Partial<ScoreWeights>;
  /** These are the defaults again. */
  readonly clear: readonly (keyof ScoreWeights)[];
}
