// Offers jobs open-loop: how many are due follows from the time that has passed, not from how the hub answers. So a
// hub that stalls gets the calls that pile up meanwhile, and their waiting is measured.
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@holdfast/worker";
import { benchKind } from "../job-payload.js";
import { timedPayload } from "../latency/timed-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface OfferParams {
  readonly address: string;
  /** Where the ledger is, for those who submit in SQL. */
  readonly databaseUrl: string;
  readonly rate: number;
  readonly jobs: number;
  /** The first so many are not measured. */
  readonly warmUpJobs: number;
  readonly payloadBytes: number;
}

export type OfferSays = {
  readonly offered: {
    readonly sent: number;
    readonly elapsedSeconds: number;
    readonly answeredAfterMs: readonly number[];
    readonly sentLateMs: readonly number[];
  };
};

const tickMs = 1;
/** Calls that wait for an answer; with more the hub is not keeping up, and there is no latency to speak of. */
const callsInFlightMax = 20_000;

await runProgram<OfferParams, OfferSays>(async (params, say, signal) => {
  const { address, rate, jobs, warmUpJobs, payloadBytes } = params;
  const client = createClient({ address });
  const answeredAfterMs: number[] = [];
  const sentLateMs: number[] = [];
  const calls = new Set<Promise<void>>();
  const failures: unknown[] = [];

  const submit = async (sequence: number, sentAtMs: number) => {
    await client.submit({ kind: benchKind, payload: timedPayload(sequence, sentAtMs, payloadBytes) });
    if (sequence >= warmUpJobs) answeredAfterMs.push(nowMs() - sentAtMs);
  };

  const beganAtMs = nowMs();
  for (let sequence = 0; sequence < jobs; ) {
    signal.throwIfAborted();
    if (failures.length > 0) throw failures[0];
    if (calls.size > callsInFlightMax) throw new Error(`${calls.size} submit calls wait for an answer.`);
    const dueJobs = Math.min(jobs, Math.floor(((nowMs() - beganAtMs) / 1_000) * rate) + 1);
    for (; sequence < dueJobs; sequence += 1) {
      const sentAtMs = nowMs();
      if (sequence >= warmUpJobs) sentLateMs.push(sentAtMs - (beganAtMs + (sequence / rate) * 1_000));
      const call = submit(sequence, sentAtMs)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => calls.delete(call));
      calls.add(call);
    }
    await delay(tickMs);
  }
  const elapsedSeconds = (nowMs() - beganAtMs) / 1_000;
  await Promise.all(calls);
  if (failures.length > 0) throw failures[0];
  say("offered", { sent: jobs, elapsedSeconds, answeredAfterMs, sentLateMs });
  return async () => client.close();
});
