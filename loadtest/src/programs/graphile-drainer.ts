// graphile-worker with a task that does nothing, until its queue is empty. It ends when its last batch of
// completions is committed, which it tells by resolving.
import { Logger, runOnce } from "graphile-worker";
import type { DrainMarks } from "../drain/contestant.js";
import { graphileSettings } from "../graphile-settings.js";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface GraphileDrainerParams {
  readonly databaseUrl: string;
  readonly warmUpJobs: number;
}

export type GraphileDrainerSays = { readonly drained: DrainMarks };

await runProgram<GraphileDrainerParams, GraphileDrainerSays>(async ({ databaseUrl, warmUpJobs }, say) => {
  // Completions come in batches that it does not tell of: what ran is at most a local queue ahead of them.
  let ran = 0;
  let warmAtMs = 0;
  const logger = new Logger(() => (level, message) => {
    if (level === "error" || level === "warning") process.stderr.write(`${message}\n`);
  });
  await runOnce({
    preset: { worker: { ...graphileSettings, connectionString: databaseUrl, logger } },
    noHandleSignals: true,
    taskList: {
      [benchKind]: () => {
        ran += 1;
        if (ran === warmUpJobs) warmAtMs = nowMs();
      },
    },
  });
  say("drained", { warmAtMs, lastVerdictAtMs: nowMs() });
  return undefined;
});
