// Sets gates in a ledger: for every hub that opens it later, and for those that are there already.
import { openLedger } from "@holdfast/hub/ledger";
import { runProgram } from "../run-program.js";

export type GateToSet = Parameters<Awaited<ReturnType<typeof openLedger>>["setGate"]>;

export interface GateSetterParams {
  readonly databaseUrl: string;
  readonly gates: readonly { readonly target: GateToSet[2]; readonly settings: GateToSet[3] }[];
}

export type GateSetterSays = { readonly set: Record<never, never> };

const operator = { tenantId: 1, subject: "bench", reason: "a benchmark", ticket: "BENCH-1" };

await runProgram<GateSetterParams, GateSetterSays>(async ({ databaseUrl, gates }, say) => {
  const ledger = await openLedger({
    databaseUrl,
    hubVersion: "bench",
    readConnectionsMax: 1,
    limits: { queuedItemsMax: 1, queuedBytesMax: 1 },
    observer: {
      committed: () => undefined,
      pageCommitted: () => undefined,
      runsAdvanced: () => undefined,
      jobsWoken: () => undefined,
      poisoned: () => undefined,
      heldUp: () => undefined,
      disconnected: () => undefined,
      reconnected: () => undefined,
    },
    onReadError: () => undefined,
  });
  for (const { target, settings } of gates) await ledger.setGate(operator, "bench.set", target, settings);
  await ledger.stop();
  say("set", {});
  return undefined;
});
