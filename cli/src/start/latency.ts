import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { DagNode } from "@holdfast/gen/holdfast/v1/job_service_pb";

export interface LatencySummary {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** From submit to start, over all jobs that started, by the ledger's clock. */
export function submitToStart(
  jobs: readonly Pick<DagNode, "submittedAt" | "startedAt">[],
): LatencySummary | undefined {
  const latenciesMs = jobs.flatMap(({ submittedAt, startedAt }) =>
    submittedAt === undefined || startedAt === undefined ? [] : [millisecondsBetween(submittedAt, startedAt)],
  );
  if (latenciesMs.length === 0) {
    return undefined;
  }
  latenciesMs.sort((a, b) => a - b);
  return { p50Ms: percentile(latenciesMs, 50), p99Ms: percentile(latenciesMs, 99) };
}

/** Nearest rank: the smallest value that at least so many per cent of the values do not exceed. */
export function percentile(sorted: readonly number[], percent: number): number {
  const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

function millisecondsBetween(from: Timestamp, to: Timestamp): number {
  return Number(to.seconds - from.seconds) * 1_000 + (to.nanos - from.nanos) / 1_000_000;
}
