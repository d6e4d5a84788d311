import type { JsonValue } from "@bufbuild/protobuf";
import { DEFAULT_HUB_URL } from "../connection.js";
import { formatLatency } from "../elapsed.js";
import type { Paint } from "../paint.js";
import { SCAN_KIND } from "../scan/scan-job.js";
import { formatFields } from "../table.js";
import type { LatencySummary } from "./latency.js";

export interface StartSummary {
  /** Whether hub and workers go on after it. */
  readonly staysUp: boolean;
  readonly hubUrl: string;
  readonly grpcAddress: string;
  /** Id of the run, which is that of its parent. */
  readonly runId: string;
  readonly root: string;
  readonly jobs: number;
  readonly elapsedMs: number;
  readonly latency: LatencySummary | undefined;
  readonly sbomFile: string;
  readonly components: number;
  /** A job and a package to show in the examples. */
  readonly exampleJobId: string;
  readonly examplePath: string;
}

export function summaryJson(summary: StartSummary): JsonValue {
  return {
    jobs: summary.jobs,
    elapsedMs: round(summary.elapsedMs),
    jobsPerSecond: round(jobsPerSecond(summary)),
    submitToStart:
      summary.latency === undefined
        ? null
        : { p50Ms: round(summary.latency.p50Ms), p99Ms: round(summary.latency.p99Ms) },
    sbom: { path: summary.sbomFile, components: summary.components },
    hub: summary.hubUrl,
    grpc: summary.grpcAddress,
    run: summary.runId,
  };
}

export function summaryText(summary: StartSummary, paint: Paint): string {
  const { latency } = summary;
  const rate = jobsPerSecond(summary);
  const figures = formatFields(
    [
      [
        "jobs",
        `${summary.jobs} in ${formatLatency(summary.elapsedMs)}, ${rate.toFixed(rate < 10 ? 1 : 0)} jobs/s`,
      ],
      [
        "submit to start",
        latency && `p50 ${formatLatency(latency.p50Ms)}, p99 ${formatLatency(latency.p99Ms)}`,
      ],
      ["SBOM", `${paint.strong(summary.sbomFile)}, ${summary.components} components, CycloneDX 1.6`],
    ],
    paint,
  );
  return `${figures}\n\n${nextText(summary, paint)}`;
}

function nextText(summary: StartSummary, paint: Paint): string {
  const lines = (commands: readonly string[]) => commands.map((command) => `  ${paint.strong(command)}`);
  if (!summary.staysUp) {
    return [
      "Try next:",
      ...lines([
        `jq -r '.components[] | "\\(.name)@\\(.version)"' ${summary.sbomFile}`,
        "npx holdfast start",
        "npx holdfast help",
      ]),
    ].join("\n");
  }
  const hub = summary.hubUrl === DEFAULT_HUB_URL ? "" : ` --hub ${summary.hubUrl}`;
  const payload = JSON.stringify({ root: summary.root, path: summary.examplePath });
  return [
    "Try next, in another terminal:",
    ...lines([
      `npx holdfast dag ${summary.runId}${hub}`,
      `npx holdfast get ${summary.exampleJobId} --history${hub}`,
      `npx holdfast submit ${SCAN_KIND} --payload '${payload}' --wait${hub}`,
      `npx holdfast replay ${summary.runId} --wait${hub}`,
      `npx holdfast status${hub}`,
    ]),
  ].join("\n");
}

function jobsPerSecond({ jobs, elapsedMs }: StartSummary): number {
  return jobs / (elapsedMs / 1_000);
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
