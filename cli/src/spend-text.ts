import type { Spend } from "@holdfast/gen/holdfast/v1/job_pb";
import { dollarsText } from "./arguments/money.js";

/** Money and tokens, as far as there are any. */
export function spendText(spend: Spend | undefined): string | undefined {
  return spend && boundsText(0, spend.costMicroUsd, spend.tokens);
}

export function boundsText(jobs: number, costMicroUsd: bigint, tokens: bigint): string {
  const parts = [
    ...(jobs > 0 ? [`${jobs} jobs`] : []),
    ...(costMicroUsd > 0n ? [`${dollarsText(costMicroUsd)} USD`] : []),
    ...(tokens > 0n ? [`${tokens} tokens`] : []),
  ];
  return parts.length === 0 ? "nothing" : parts.join(", ");
}
