// A hub as it ships, on any free ports unless it is told where.
import type { HubOptions } from "@holdfast/hub/config";
import { startHub } from "@holdfast/hub/main";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface HubParams {
  readonly databaseUrl: string;
  readonly options?: HubOptions;
  /** How often it says what it uses; absent: never. */
  readonly usageEveryMs?: number;
}

/** What the process of the hub uses of the machine. */
export interface HubUsage {
  readonly atMs: number;
  /** Memory that is really there, all of the process. */
  readonly residentBytes: number;
  /** Objects that are in use, or were at the last collection. */
  readonly heapBytes: number;
  /** Processor time since its start, all threads, in the kernel too. */
  readonly cpuMs: number;
}

export type HubSays = {
  readonly up: { readonly grpcAddress: string; readonly httpAddress: string };
  readonly usage: HubUsage;
};

await runProgram<HubParams, HubSays>(async ({ databaseUrl, options, usageEveryMs }, say) => {
  const hub = await startHub(
    { databaseUrl, grpcListen: "127.0.0.1:0", httpListen: "127.0.0.1:0", drainGraceMs: 1_000, ...options },
    (line) => process.stdout.write(`${line}\n`),
  );
  say("up", { grpcAddress: hub.grpcAddress, httpAddress: hub.httpAddress });
  const telling =
    usageEveryMs === undefined ? undefined : setInterval(() => say("usage", usage()), usageEveryMs);
  return () => {
    clearInterval(telling);
    return hub.stop("the benchmark has what it wanted");
  };
});

function usage(): HubUsage {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return { atMs: nowMs(), residentBytes: rss, heapBytes: heapUsed, cpuMs: (user + system) / 1_000 };
}
