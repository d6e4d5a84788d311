import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { WorkerCounts } from "../programs/chaos-workers.js";

/** What the workers were told of one job. */
export interface Told {
  /** Fencing tokens of results that were COMMITTED. */
  readonly committed: string[];
  readonly duplicate: string[];
}

export interface VerdictLog {
  readonly byJob: ReadonlyMap<string, Told>;
  readonly counts: WorkerCounts;
}

export async function readVerdictLogs(files: readonly string[]): Promise<VerdictLog> {
  const byJob = new Map<string, Told>();
  const counts = { committed: 0, duplicate: 0, stale: 0, refused: 0, started: 0 };
  for (const file of files)
    for await (const line of createInterface({ input: createReadStream(file) })) {
      if (line.startsWith("counts ")) {
        const own = JSON.parse(line.slice("counts ".length)) as WorkerCounts;
        for (const field of Object.keys(counts) as (keyof WorkerCounts)[]) counts[field] += own[field];
        continue;
      }
      const [jobId = "", token = "", verdict = ""] = line.split(" ");
      if (verdict !== "committed" && verdict !== "duplicate") continue;
      const told = byJob.get(jobId) ?? { committed: [], duplicate: [] };
      told[verdict].push(token);
      byJob.set(jobId, told);
    }
  return { byJob, counts };
}
