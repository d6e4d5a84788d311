/** What one run of ghz found. */
export interface GhzRun {
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** By gRPC status and message; only what failed. */
  readonly errors: Readonly<Record<string, number>>;
}

/** The part of ghz's JSON report that is used here; times are nanoseconds. */
interface GhzJson {
  readonly count: number;
  readonly rps: number;
  readonly errorDistribution?: Readonly<Record<string, number>> | null;
  readonly latencyDistribution?: readonly { readonly percentage: number; readonly latency: number }[] | null;
}

/** @throws SyntaxError or TypeError when it is not a report of ghz with a latency in it */
export function readGhzReport(text: string): GhzRun {
  const report = JSON.parse(text) as GhzJson;
  const ms = (percentage: number) => {
    const found = report.latencyDistribution?.find((latency) => latency.percentage === percentage);
    if (!found)
      throw new TypeError(
        `ghz reports no ${percentage}th percentile: did any call succeed?\n${errorText(report)}`,
      );
    return found.latency / 1e6;
  };
  return {
    calls: report.count,
    callsPerSecond: report.rps,
    p50Ms: ms(50),
    p95Ms: ms(95),
    p99Ms: ms(99),
    errors: report.errorDistribution ?? {},
  };
}

export function countErrors({ errors }: Pick<GhzRun, "errors">): number {
  return Object.values(errors).reduce((sum, count) => sum + count, 0);
}

function errorText({ errorDistribution }: GhzJson): string {
  return Object.entries(errorDistribution ?? {})
    .map(([error, count]) => `${count} × ${error}`)
    .join("\n");
}
