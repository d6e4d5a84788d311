// Puts a backlog into a hub the way an application would: SubmitBatch through the SDK.
import { createClient } from "@holdfast/worker";
import { benchKind, payloadOf } from "../job-payload.js";
import { runProgram } from "../run-program.js";

export interface SubmitterParams {
  readonly address: string;
  readonly jobs: number;
  readonly payloadBytes: number;
}

export type SubmitterSays = { readonly submitted: { readonly jobs: number } };

const batchJobs = 2_000;
const batchesInFlight = 2;

await runProgram<SubmitterParams, SubmitterSays>(async ({ address, jobs, payloadBytes }, say, signal) => {
  const client = createClient({ address });
  const job = { kind: benchKind, payload: payloadOf(payloadBytes) };
  let left = jobs;
  const submitInTurn = async () => {
    while (left > 0) {
      signal.throwIfAborted();
      const count = Math.min(batchJobs, left);
      left -= count;
      const items = await client.submitBatch(Array.from({ length: count }, () => job));
      const refused = items.find((item) => item.outcome === "refused");
      if (refused) throw new Error(`The hub refused a job: ${JSON.stringify(refused)}`);
    }
  };
  await Promise.all(Array.from({ length: batchesInFlight }, submitInTurn));
  say("submitted", { jobs });
  return async () => client.close();
});
