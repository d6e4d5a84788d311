// A hub as it ships, on any free ports.
import { startHub } from "@holdfast/hub/main";
import { runProgram } from "../run-program.js";

export interface HubParams {
  readonly databaseUrl: string;
}

export type HubSays = { readonly up: { readonly grpcAddress: string } };

await runProgram<HubParams, HubSays>(async ({ databaseUrl }, say) => {
  const hub = await startHub(
    { databaseUrl, grpcListen: "127.0.0.1:0", httpListen: "127.0.0.1:0", drainGraceMs: 1_000 },
    (line) => process.stdout.write(`${line}\n`),
  );
  say("up", { grpcAddress: hub.grpcAddress });
  return () => hub.stop("the benchmark has what it wanted");
});
