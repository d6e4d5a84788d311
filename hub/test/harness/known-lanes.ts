import type { Lane } from "../../src/domain/lane.js";
import type { KnownLane } from "../../src/ledger/lanes.js";

/** The lanes' part of a ledger that has these and no more, all of weight 1. */
export function knowing(known: readonly { readonly lane: Lane; readonly lowKey: number }[]) {
  const lanes = known.map((one): KnownLane => ({ ...one, fairnessWeight: 1, weightDeclaredAtMs: 0 }));
  return {
    listLanes: async () => lanes,
    listLanesAfter: async () => [],
    ensureLane: async () => lanes,
    declareWeights: async () => undefined,
    readNewWeights: async () => [],
  };
}
