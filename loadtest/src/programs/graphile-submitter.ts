// Puts a backlog into graphile-worker by its own bulk call.
import { makeWorkerUtils } from "graphile-worker";
import { benchKind, payloadOf } from "../job-payload.js";
import { runProgram } from "../run-program.js";

export interface GraphileSubmitterParams {
  readonly databaseUrl: string;
  readonly jobs: number;
  readonly payloadBytes: number;
}

export type GraphileSubmitterSays = { readonly submitted: { readonly jobs: number } };

const batchJobs = 2_000;

await runProgram<GraphileSubmitterParams, GraphileSubmitterSays>(async (params, say, signal) => {
  const utils = await makeWorkerUtils({ connectionString: params.databaseUrl });
  await utils.migrate();
  const job = { identifier: benchKind, payload: payloadOf(params.payloadBytes) };
  for (let left = params.jobs; left > 0; left -= batchJobs) {
    signal.throwIfAborted();
    await utils.addJobs(Array.from({ length: Math.min(batchJobs, left) }, () => job));
  }
  say("submitted", { jobs: params.jobs });
  return async () => utils.release();
});
