// A hub as it ships, on any free ports unless it is told where.
import type { HubOptions } from "@holdfast/hub/config";
import { startHub } from "@holdfast/hub/main";
import { runProgram } from "../run-program.js";
import { tellUsage, type Usage } from "../usage.js";

export interface HubParams {
  readonly databaseUrl: string;
  readonly options?: HubOptions;
  /** How often it says what it uses; absent: never. */
  readonly usageEveryMs?: number;
}

export type HubSays = {
  readonly up: { readonly grpcAddress: string; readonly httpAddress: string };
  readonly usage: Usage;
};

await runProgram<HubParams, HubSays>(async ({ databaseUrl, options, usageEveryMs }, say) => {
  const hub = await startHub(
    { databaseUrl, grpcListen: "127.0.0.1:0", httpListen: "127.0.0.1:0", drainGraceMs: 1_000, ...options },
    (line) => process.stdout.write(`${line}\n`),
  );
  say("up", { grpcAddress: hub.grpcAddress, httpAddress: hub.httpAddress });
  const stopTelling = usageEveryMs === undefined ? null : tellUsage(say, usageEveryMs);
  return () => {
    stopTelling?.();
    return hub.stop("the benchmark has what it wanted");
  };
});
