// Worker sessions of the SDK, many in one process, that write down every verdict that they are told.
import { createWriteStream } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type RunningWorker, startWorker } from "@holdfast/worker";
import { chaosKind } from "../chaos/job.js";
import { runProgram } from "../run-program.js";

export interface ChaosWorkersParams {
  readonly addresses: readonly string[];
  readonly name: string;
  readonly sessions: number;
  /** Lines of job, fencing token and verdict, in the order in which they came; then the counts. */
  readonly verdictsFile: string;
  readonly workMsMax: number;
}

export interface WorkerCounts {
  readonly committed: number;
  readonly duplicate: number;
  readonly stale: number;
  readonly refused: number;
  readonly started: number;
}

export type ChaosWorkersSays = { readonly counts: WorkerCounts };

const sayEveryMs = 100;
const concurrency = 8;

await runProgram<ChaosWorkersParams, ChaosWorkersSays>(async (params, say) => {
  const { addresses, name, sessions, verdictsFile, workMsMax } = params;
  const log = createWriteStream(verdictsFile);
  let started = 0;
  const handler = async (job: { readonly id: string }) => {
    started += 1;
    await delay(workMsOf(job.id, workMsMax));
    return job.id;
  };
  const workers: RunningWorker[] = Array.from({ length: sessions }, (_, at) =>
    startWorker({
      addresses,
      name: `${name}-${at + 1}`,
      handlers: { [chaosKind]: handler },
      concurrency,
      prefetch: concurrency,
      journal: false,
      // One thread for all of them: what is tried here is hubs.
      thread: false,
      handleSignals: false,
      drainTimeoutMs: 5_000,
      log: ({ level, message }) => level === "error" && process.stdout.write(`${message}\n`),
      onVerdict: ({ jobId, fencingToken, verdict }) => log.write(`${jobId} ${fencingToken} ${verdict}\n`),
    }),
  );
  const counts = (): WorkerCounts => {
    const sum = { committed: 0, duplicate: 0, stale: 0, refused: 0, started };
    for (const worker of workers) {
      const stats = worker.stats();
      for (const field of ["committed", "duplicate", "stale", "refused"] as const) sum[field] += stats[field];
    }
    return sum;
  };
  const saying = setInterval(() => say("counts", counts()), sayEveryMs);
  return async () => {
    clearInterval(saying);
    await Promise.all(workers.map((worker) => worker.stop()));
    log.write(`counts ${JSON.stringify(counts())}\n`);
    await new Promise<void>((resolve) => log.end(resolve));
  };
});

/** Up to the bound, and the same for a job wherever it runs. */
function workMsOf(jobId: string, workMsMax: number): number {
  return 1 + (Number.parseInt(jobId.slice(-6), 16) % workMsMax);
}
