// A worker of the SDK that shares a backlog with others: its handler does nothing, until nothing comes any more.
import { setTimeout as delay } from "node:timers/promises";
import { startWorker } from "@holdfast/worker";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface FleetDrainerParams {
  readonly address: string;
  /** Nothing was committed for so long: that was all. */
  readonly idleMs: number;
}

/** So many more verdicts were known by this time. */
export interface Step {
  readonly atMs: number;
  readonly verdicts: number;
}

export type FleetDrainerSays = { readonly drained: { readonly steps: readonly Step[] } };

const lookAgainMs = 2;
const firstWithinMs = 60_000;

await runProgram<FleetDrainerParams, FleetDrainerSays>(async ({ address, idleMs }, say, signal) => {
  const worker = startWorker({
    address,
    name: "bench",
    journal: false,
    handleSignals: false,
    handlers: { [benchKind]: () => undefined },
  });
  const steps: Step[] = [];
  let committed = 0;
  let idleAtMs = nowMs() + firstWithinMs;
  while (nowMs() < idleAtMs) {
    signal.throwIfAborted();
    const { committed: now } = worker.stats();
    if (now > committed) {
      steps.push({ atMs: nowMs(), verdicts: now - committed });
      idleAtMs = nowMs() + idleMs;
    }
    committed = now;
    await delay(lookAgainMs);
  }
  say("drained", { steps });
  return () => worker.stop();
});
