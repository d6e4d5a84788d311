// pg-boss with jobs that do nothing, in each of its roles: a backlog comes in, is worked off, or both at once.
import PgBoss from "pg-boss";
import type { DrainMarks } from "../drain/contestant.js";
import { benchKind, payloadOf } from "../job-payload.js";
import { keepBusy } from "../life/keep-busy.js";
import type { LifeParams, LifeSays } from "../life/life-program.js";
import { pgBossSettings } from "../pg-boss-settings.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export type PgBossParams = { readonly databaseUrl: string } & (
  | { readonly act: "submit"; readonly jobs: number; readonly payloadBytes: number }
  | { readonly act: "drain"; readonly jobs: number; readonly warmUpJobs: number }
  | { readonly act: "live"; readonly life: LifeParams }
);

export type PgBossSays = LifeSays & {
  readonly submitted: { readonly jobs: number };
  readonly drained: DrainMarks;
};

const submitBatchJobs = 2_000;
const { batchJobs, loops } = pgBossSettings;

await runProgram<PgBossParams, PgBossSays>(async (params, say, signal) => {
  const boss = new PgBoss({ connectionString: params.databaseUrl });
  boss.on("error", (error) => process.stderr.write(`${error.message}\n`));
  await boss.start();
  await boss.createQueue(benchKind);
  let isOver = false;
  let committed = 0;
  const workInTurn = async (onBatch: () => void) => {
    while (!isOver) {
      signal.throwIfAborted();
      const jobs = await boss.fetch(benchKind, { batchSize: batchJobs, priority: false });
      if (jobs.length === 0) continue;
      await boss.complete(
        benchKind,
        jobs.map(({ id }) => id),
      );
      committed += jobs.length;
      onBatch();
    }
  };
  const work = (onBatch: () => void) => Promise.all(Array.from({ length: loops }, () => workInTurn(onBatch)));
  const insert = (count: number, payloadBytes: number) =>
    boss.insert(Array.from({ length: count }, () => ({ name: benchKind, data: payloadOf(payloadBytes) })));

  if (params.act === "submit") {
    for (let left = params.jobs; left > 0; left -= submitBatchJobs) {
      signal.throwIfAborted();
      await insert(Math.min(submitBatchJobs, left), params.payloadBytes);
    }
    say("submitted", { jobs: params.jobs });
  } else if (params.act === "drain") {
    let warmAtMs = 0;
    await work(() => {
      if (warmAtMs === 0 && committed >= params.warmUpJobs) warmAtMs = nowMs();
      isOver = committed >= params.jobs;
    });
    say("drained", { warmAtMs, lastVerdictAtMs: nowMs() });
  } else {
    const { life } = params;
    const working = work(() => undefined);
    const system = {
      submit: (count: number) => insert(count, life.payloadBytes),
      committed: () => committed,
      failed: working.then(() => undefined),
    };
    await keepBusy(system, life, say, signal);
    isOver = true;
    await working;
  }
  return () => boss.stop({ graceful: false });
});
