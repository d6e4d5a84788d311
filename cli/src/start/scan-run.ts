import { create } from "@bufbuild/protobuf";
import { type Job, type JobSpec, JobSpecSchema, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JSON_CONTENT_TYPE } from "../arguments/payload.js";
import { CliError } from "../cli-error.js";
import { requireJob } from "../commands/job-answer.js";
import type { Connection } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import { FOLLOWED_JOBS_MAX, followJobs } from "../follow-jobs.js";
import { readable } from "../job-json.js";
import { isTerminal } from "../job-words.js";
import { mapBounded } from "../map-bounded.js";
import type { PackageTree } from "../scan/find-packages.js";
import { SCAN_KIND, type ScannedPackage, type ScanRequest } from "../scan/scan-job.js";

const SUBMIT_JOBS_MAX = 1_000;
const FOLLOW_STREAMS_MAX = 6;
const GET_CALLS_MAX = 16;
const HUB_AWAY_MAX_MS = 60_000;

export interface ScanRunOptions {
  readonly connection: Connection;
  readonly tree: PackageTree;
  /** Makes the jobs of this run its own: prefix of their idempotency keys, and their label "run". */
  readonly runId: string;
  /** Scans in all, going over the packages again and again. Default: one for each package. */
  readonly scansCount?: number;
  readonly signal: AbortSignal;
  readonly onProgress: (jobsDone: number) => void;
}

export interface ScanRun {
  readonly jobs: readonly Job[];
  /** From the first submit to the last job's end, as seen here. */
  readonly elapsedMs: number;
  readonly scanned: ReadonlyMap<string, ScannedPackage>;
}

/** Submits the scans and follows them all to their end. */
export async function followScans(
  options: ScanRunOptions,
): Promise<{ readonly jobIds: readonly string[]; readonly elapsedMs: number }> {
  const startedAtMs = performance.now();
  const jobIds: string[] = [];
  for (const specs of slices(scanSpecs(options), SUBMIT_JOBS_MAX)) {
    jobIds.push(...(await submitAll(options.connection, specs, options.signal)));
  }
  await followAll(options, jobIds);
  return { jobIds, elapsedMs: performance.now() - startedAtMs };
}

/** Submits one scan per package, follows them all to their end, and collects the results. */
export async function runScan(options: ScanRunOptions): Promise<ScanRun> {
  const { connection, signal } = options;
  const { jobIds, elapsedMs } = await followScans(options);
  const jobs = await mapBounded(jobIds, GET_CALLS_MAX, async (jobId) =>
    requireJob((await connection.jobs.get({ jobId }, { signal })).job),
  );
  return { jobs, elapsedMs, scanned: new Map(jobs.map(scannedPackage).map((scan) => [scan.path, scan])) };
}

function scanSpecs({ tree, runId, scansCount = tree.packages.length }: ScanRunOptions): JobSpec[] {
  return Array.from({ length: scansCount }, (_, index) => {
    const path = tree.packages[index % tree.packages.length]?.path ?? "";
    const request: ScanRequest = { root: tree.root, path };
    return create(JobSpecSchema, {
      kind: SCAN_KIND,
      payload: Buffer.from(JSON.stringify(request)),
      contentType: JSON_CONTENT_TYPE,
      labels: { run: runId },
      idempotencyKey: `${runId}/${index}`,
    });
  });
}

async function submitAll(connection: Connection, jobs: JobSpec[], signal: AbortSignal): Promise<string[]> {
  const { results } = await connection.jobs.submitBatch({ jobs }, { signal });
  return results.map(({ result }) => {
    if (result.case === "accepted") {
      return result.value.jobId;
    }
    throw new CliError(`A scan was refused: ${result.value?.message ?? "no reason given"}`, {
      exitCode: EXIT.refused,
      reason: result.value?.reason ?? "UNKNOWN",
    });
  });
}

/** Follows jobs in groups: one stream of the hub takes only so many, and so many streams are open at once. */
async function followAll(
  { connection, signal, onProgress }: ScanRunOptions,
  jobIds: readonly string[],
): Promise<void> {
  const ended = new Set<string>();
  await mapBounded([...slices(jobIds, FOLLOWED_JOBS_MAX)], FOLLOW_STREAMS_MAX, async (group) => {
    const updates = followJobs(connection.jobs, group, {
      signal,
      giveUpAfterMs: HUB_AWAY_MAX_MS,
      wasReached: true,
    });
    for await (const { update } of updates) {
      if (update.case === "event" && isTerminal(update.value.state) && !ended.has(update.value.jobId)) {
        ended.add(update.value.jobId);
        onProgress(ended.size);
      }
    }
  });
}

function scannedPackage(job: Job): ScannedPackage {
  const outcome = job.outcome?.outcome;
  if (job.state === JobState.SUCCEEDED && outcome?.case === "success") {
    return readable(outcome.value.result, outcome.value.contentType) as unknown as ScannedPackage;
  }
  const why =
    outcome?.case === "failure" ? `${outcome.value.code}: ${outcome.value.message}` : "it was cancelled";
  throw new CliError(`The scan ${job.id} did not succeed: ${why}`, {
    exitCode: EXIT.jobNotSucceeded,
    reason: "SCAN_FAILED",
    next: `holdfast get ${job.id} --history`,
  });
}

function* slices<Item>(items: readonly Item[], itemsMax: number): Generator<Item[]> {
  for (let start = 0; start < items.length; start += itemsMax) {
    yield items.slice(start, start + itemsMax);
  }
}
