// Puts a backlog into a hub the way an application would: SubmitBatch through the SDK.
import { createClient } from "@holdfast/worker";
import { benchKind, payloadOf } from "../job-payload.js";
import { runProgram } from "../run-program.js";

export interface SubmitterParams {
  readonly address: string;
  readonly jobs: number;
  readonly payloadBytes: number;
  readonly kind?: string;
  readonly source?: string;
  readonly retry?: { readonly maxAttempts: number; readonly initialBackoffMs: number };
}

export type SubmitterSays = { readonly submitted: { readonly jobs: number } };

const batchJobs = 2_000;
const batchesInFlight = 2;

await runProgram<SubmitterParams, SubmitterSays>(async (params, say, signal) => {
  const { address, jobs, payloadBytes, kind = benchKind, source = "", retry } = params;
  const client = createClient({ address });
  const job = { kind, payload: payloadOf(payloadBytes), source, ...(retry && { retry }) };
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
