// The limit of a drain: the statements of the ledger by themselves, with the refs known before the clock starts.
import type { Ledger } from "@holdfast/hub/ledger";
import type { DrainMarks } from "../drain/contestant.js";
import { openRawBook } from "../raw-book.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface RawLedgerParams {
  readonly databaseUrl: string;
  readonly jobs: number;
  readonly warmUpJobs: number;
  readonly batchJobs: number;
  /** Batches that are claimed or reported at once, so that the connection never waits for this program. */
  readonly batchesInFlight: number;
}

export type RawLedgerSays = { readonly drained: DrainMarks };

const pageJobs = 10_000;

await runProgram<RawLedgerParams, RawLedgerSays>(async (params, say, signal) => {
  const { ledger, workOff } = await openRawBook(params.databaseUrl);
  const jobIds = await readBacklog(ledger);
  if (jobIds.length !== params.jobs) throw new Error(`${jobIds.length} jobs are ready, not ${params.jobs}.`);
  let warmAtMs = 0;
  let committed = 0;
  let at = 0;
  const drainInTurn = async () => {
    while (at < jobIds.length) {
      signal.throwIfAborted();
      const batch = jobIds.slice(at, at + params.batchJobs);
      at += batch.length;
      await workOff(batch);
      committed += batch.length;
      if (warmAtMs === 0 && committed >= params.warmUpJobs) warmAtMs = nowMs();
    }
  };
  await Promise.all(Array.from({ length: params.batchesInFlight }, drainInTurn));
  say("drained", { warmAtMs, lastVerdictAtMs: nowMs() });
  return () => ledger.stop();
});

async function readBacklog(ledger: Ledger): Promise<string[]> {
  const jobIds: string[] = [];
  for (const { lane } of await ledger.listLanes()) {
    for (let afterKey = 0; ; ) {
      const page = await ledger.readLanePage(lane.laneId, afterKey, pageJobs);
      jobIds.push(...page.map((ref) => ref.jobId));
      const last = page.at(-1);
      if (!last) break;
      afterKey = last.readyKey;
    }
  }
  return jobIds;
}
