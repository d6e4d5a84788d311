// A worker of the SDK whose jobs all wait for one signal. It submits them itself, and is done when each has been woken
// and has ended.
import { createClient, startWorker } from "@holdfast/worker";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";

export interface WaiterParams {
  readonly address: string;
  readonly journal: string;
  readonly jobs: number;
  readonly concurrency: number;
}

export type WaiterSays = {
  /** Every job has ended well. */
  readonly ended: { readonly jobs: number };
};

const awaitedChannel = { owner: "bench", name: "go" } as const;
const submitJobsMax = 5_000;

await runProgram<WaiterParams, WaiterSays>(async ({ address, journal, jobs, concurrency }, say) => {
  let ended = 0;
  const worker = startWorker({
    address,
    name: "bench",
    journal,
    concurrency,
    handleSignals: false,
    handlers: {
      [benchKind]: async (job) => {
        await job.waitFor(awaitedChannel);
        ended += 1;
        if (ended === jobs) say("ended", { jobs });
      },
    },
  });
  const client = createClient({ address });
  for (let left = jobs; left > 0; left -= submitJobsMax)
    await client.submitBatch(
      Array.from({ length: Math.min(left, submitJobsMax) }, () => ({ kind: benchKind })),
    );
  client.close();
  return () => worker.stop();
});
