// graphile-worker that adds jobs in bulk and runs them, in one process.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { graphileSettings } from "../graphile-settings.js";
import { benchKind, payloadOf } from "../job-payload.js";
import { keepBusy } from "../life/keep-busy.js";
import type { LifeParams, LifeSays } from "../life/life-program.js";
import { runProgram } from "../run-program.js";

export interface GraphileLifeParams {
  readonly databaseUrl: string;
  readonly life: LifeParams;
}

await runProgram<GraphileLifeParams, LifeSays>(async ({ databaseUrl, life }, say, signal) => {
  const logger = new Logger(() => (level, message) => {
    if (level === "error" || level === "warning") process.stderr.write(`${message}\n`);
  });
  const utils = await makeWorkerUtils({ connectionString: databaseUrl });
  await utils.migrate();
  // What ran counts: completions come in batches that it does not tell of, at most a local queue later.
  let ran = 0;
  const runner = await run({
    preset: { worker: { ...graphileSettings, connectionString: databaseUrl, logger } },
    noHandleSignals: true,
    taskList: {
      [benchKind]: () => {
        ran += 1;
      },
    },
  });
  const job = { identifier: benchKind, payload: payloadOf(life.payloadBytes) };
  const submit = async (count: number) =>
    void (await utils.addJobs(Array.from({ length: count }, () => job)));
  await keepBusy({ submit, committed: () => ran, failed: runner.promise }, life, say, signal);
  return async () => {
    await runner.stop();
    await utils.release();
  };
});
