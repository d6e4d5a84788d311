import type { Limits } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { Amount } from "./credit-ledger.js";

/** What the hub of a stream enforces; each has the protocol's default where the hub is silent. */
export type StreamLimits = {
  readonly resultBytesMax: number;
  readonly checkpointBytesMax: number;
  readonly effectResultBytesMax: number;
  readonly reportResultsMax: number;
  readonly credit: Amount;
};

export function streamLimits(limits: Limits | undefined): StreamLimits {
  return {
    resultBytesMax: limits?.resultBytesMax || 1 << 20,
    checkpointBytesMax: limits?.checkpointBytesMax || 1 << 20,
    effectResultBytesMax: limits?.effectResultBytesMax || 64 << 10,
    reportResultsMax: limits?.reportResultsMax || 1_000,
    credit: {
      jobs: limits?.creditJobsMax || 100_000,
      bytes: Number(limits?.creditBytesMax ?? 0n) || 1 << 30,
    },
  };
}
