// A worker of the SDK whose handler does nothing, until so many results are committed.
import { setTimeout as delay } from "node:timers/promises";
import { startWorker } from "@holdfast/worker";
import type { DrainMarks } from "../drain/contestant.js";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface DrainerParams {
  readonly address: string;
  readonly jobs: number;
  readonly warmUpJobs: number;
  /** Directory, or false for none. */
  readonly journal: string | false;
}

export type DrainerSays = { readonly drained: DrainMarks };

const lookAgainMs = 2;

await runProgram<DrainerParams, DrainerSays>(async ({ address, jobs, warmUpJobs, journal }, say, signal) => {
  const worker = startWorker({
    address,
    name: "bench",
    journal,
    handleSignals: false,
    handlers: { [benchKind]: () => undefined },
  });
  // Looked at from outside the hot path: the handler and the verdicts go their usual way.
  const untilCommitted = async (count: number) => {
    while (worker.stats().committed < count) {
      signal.throwIfAborted();
      await delay(lookAgainMs);
    }
    return nowMs();
  };
  const closedEarly = worker.done.then(() => {
    throw new Error("The worker closed before its jobs were done.");
  });
  // Not early any more once the race is over.
  closedEarly.catch(() => undefined);
  const warmAtMs = await Promise.race([untilCommitted(warmUpJobs), closedEarly]);
  const lastVerdictAtMs = await Promise.race([untilCommitted(jobs), closedEarly]);
  say("drained", { warmAtMs, lastVerdictAtMs });
  return () => worker.stop();
});
