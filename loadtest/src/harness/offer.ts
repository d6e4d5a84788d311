import type { HarnessSettings } from "./settings.js";

export interface Offered {
  /** Since the offer began, whatever became of it. */
  readonly elapsedMs: number;
  readonly submitted: number;
  /** Submitted and not completed. */
  readonly depth: number;
}

/**
 * How many jobs are due now. At a fixed rate that follows from the time that has passed and from nothing else: a tick
 * that came late, or a ledger that was away, is made up for. A depth is only filled up, and no debt remains.
 */
export function dueJobs(
  settings: Pick<HarnessSettings, "mode" | "ratePerSecond" | "batchMs" | "targetDepth">,
  { elapsedMs, submitted, depth }: Offered,
): number {
  if (settings.mode === "fixed")
    return Math.max(0, Math.floor((elapsedMs / 1_000) * settings.ratePerSecond) - submitted);
  const perTick = Math.max(1, Math.floor((settings.ratePerSecond * settings.batchMs) / 1_000));
  return Math.max(0, Math.min(settings.targetDepth - depth, perTick));
}
