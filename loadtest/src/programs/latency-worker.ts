// A worker of the SDK that notes how old each job is when its handler starts.
import { startWorker } from "@holdfast/worker";
import { benchKind } from "../job-payload.js";
import type { TimedPayload } from "../latency/timed-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface StarterParams {
  readonly address: string;
  readonly journal: string;
  readonly jobs: number;
  /** The first so many are not measured. */
  readonly warmUpJobs: number;
  /** Jobs of this kind are run as well, and not looked at. */
  readonly otherKind?: string;
}

export type StarterSays = {
  readonly attached: Record<never, never>;
  /** Every job has started. */
  readonly started: { readonly startedAfterMs: readonly number[] };
};

await runProgram<StarterParams, StarterSays>(async (params, say) => {
  const { address, journal, jobs, warmUpJobs, otherKind } = params;
  const startedAfterMs: number[] = [];
  let started = 0;
  const worker = startWorker({
    address,
    name: "bench",
    journal,
    handleSignals: false,
    handlers: {
      [benchKind]: (job) => {
        const startedAtMs = nowMs();
        const { sequence, sentAtMs } = job.json<TimedPayload>();
        // A second attempt would be as old as its failure.
        if (job.attempt > 1) throw new Error(`Job ${sequence} was started more than once.`);
        if (sequence >= warmUpJobs) startedAfterMs.push(startedAtMs - sentAtMs);
        started += 1;
        if (started === jobs) say("started", { startedAfterMs });
      },
      ...(otherKind !== undefined && { [otherKind]: () => undefined }),
    },
    onSession: ({ name }) => {
      if (name === "live") say("attached", {});
    },
  });
  return () => worker.stop();
});
