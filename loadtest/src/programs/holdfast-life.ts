// An application that submits jobs in batches and a worker of the SDK that runs them, in one process.
import { createClient, startWorker } from "@holdfast/worker";
import { benchKind, payloadOf } from "../job-payload.js";
import { keepBusy } from "../life/keep-busy.js";
import type { LifeParams, LifeSays } from "../life/life-program.js";
import { runProgram } from "../run-program.js";

export interface HoldfastLifeParams {
  readonly address: string;
  /** Directory. */
  readonly journal: string;
  readonly life: LifeParams;
}

await runProgram<HoldfastLifeParams, LifeSays>(async ({ address, journal, life }, say, signal) => {
  const client = createClient({ address });
  const job = { kind: benchKind, payload: payloadOf(life.payloadBytes) };
  const worker = startWorker({
    address,
    name: "bench",
    journal,
    handleSignals: false,
    handlers: { [benchKind]: () => undefined },
  });
  const submit = async (count: number) => {
    const items = await client.submitBatch(Array.from({ length: count }, () => job));
    const refused = items.find((item) => item.outcome === "refused");
    if (refused) throw new Error(`The hub refused a job: ${JSON.stringify(refused)}`);
  };
  await keepBusy(
    { submit, committed: () => worker.stats().committed, failed: worker.done },
    life,
    say,
    signal,
  );
  return async () => {
    client.close();
    await worker.stop();
  };
});
