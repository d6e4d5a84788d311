import { CliError } from "../cli-error.js";
import type { Connection } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import type { PackageTree } from "../scan/find-packages.js";
import { scanJob, slices } from "../scan/scan-job.js";
import { followScans } from "../start/follow-scans.js";
import { toSpec } from "../start/scan-run.js";

const SUBMIT_JOBS_MAX = 1_000;

export interface ScanBatchOptions {
  readonly connection: Connection;
  readonly tree: PackageTree;
  /** Makes the jobs of this batch its own; see scanJob. */
  readonly label: string;
  /** Scans in all, going over the packages again and again. */
  readonly scansCount: number;
  readonly signal: AbortSignal;
  readonly onProgress: (jobsDone: number) => void;
}

/** Submits scans that stand alone and follows them all to their end; answers how long that took, as seen here. */
export async function runScanBatch(options: ScanBatchOptions): Promise<number> {
  const { connection, tree, label, scansCount, signal, onProgress } = options;
  const startedAtMs = performance.now();
  const places = Array.from({ length: scansCount }, (_, place) => place);
  const jobIds: string[] = [];
  for (const page of slices(places, SUBMIT_JOBS_MAX)) {
    const jobs = page.map((place) => {
      const path = tree.packages[place % tree.packages.length]?.path ?? "";
      return toSpec(scanJob(tree.root, path, label, place));
    });
    const { results } = await connection.jobs.submitBatch({ jobs }, { signal });
    for (const { result } of results) {
      if (result.case !== "accepted") {
        throw new CliError(`A scan was refused: ${result.value?.message ?? "no reason given"}`, {
          exitCode: EXIT.refused,
          reason: result.value?.reason ?? "UNKNOWN",
        });
      }
      jobIds.push(result.value.jobId);
    }
  }
  let jobsDone = 0;
  await followScans(connection, jobIds, signal, () => {
    jobsDone += 1;
    onProgress(jobsDone);
  });
  return performance.now() - startedAtMs;
}
