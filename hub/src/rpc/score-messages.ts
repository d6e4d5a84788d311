// Weights of the score between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ScoreWeights as ScoreWeightsMessage,
  ScoreWeightsSchema,
} from "@holdfast/gen/holdfast/v1/score_pb";
import { type ScoreWeights, scoreWeightMax, scoreWeightNames } from "../domain/score-weights.js";
import { invalid } from "./check.js";

/** @throws Fault INVALID_FIELD naming the weight */
export function toWeights(message: ScoreWeightsMessage | undefined, path: string): Partial<ScoreWeights> {
  const weights: Partial<Record<keyof ScoreWeights, number>> = {};
  for (const name of scoreWeightNames) {
    const weight = message?.[name];
    if (weight === undefined) continue;
    // Written so that what is no number is refused, too.
    if (!(Math.abs(weight) <= scoreWeightMax))
      throw invalid(`${path}.${name}`, `must be a number from -${scoreWeightMax} to ${scoreWeightMax}`);
    weights[name] = weight;
  }
  return weights;
}

export function toWeightsMessage(
  weights: Partial<ScoreWeights>,
): MessageInitShape<typeof ScoreWeightsSchema> {
  return { ...weights };
}
