// A worker of the SDK that shares a backlog with others: its handler does nothing, until nothing comes any more.
import { setTimeout as delay } from "node:timers/promises";
import { startWorker } from "@holdfast/worker";
import type { DrainMarks } from "../drain/contestant.js";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface FleetDrainerParams {
  readonly address: string;
  /** Nothing was committed for so long: that was all. */
  readonly idleMs: number;
}

export type FleetDrainerSays = { readonly drained: DrainMarks & { readonly committed: number } };

const lookAgainMs = 2;
const firstWithinMs = 60_000;

await runProgram<FleetDrainerParams, FleetDrainerSays>(async ({ address, idleMs }, say, signal) => {
  let firstLeaseAtMs = Number.POSITIVE_INFINITY;
  const worker = startWorker({
    address,
    name: "bench",
    journal: false,
    handleSignals: false,
    handlers: {
      [benchKind]: () => {
        if (firstLeaseAtMs === Number.POSITIVE_INFINITY) firstLeaseAtMs = nowMs();
      },
    },
  });
  let committed = 0;
  let lastVerdictAtMs = 0;
  const startedAtMs = nowMs();
  while (nowMs() - (lastVerdictAtMs || startedAtMs + firstWithinMs - idleMs) < idleMs) {
    signal.throwIfAborted();
    const now = worker.stats().committed;
    if (now > committed) lastVerdictAtMs = nowMs();
    committed = now;
    await delay(lookAgainMs);
  }
  say("drained", { firstLeaseAtMs, lastVerdictAtMs, committed });
  return () => worker.stop();
});
