// The limit of a life: submit, claim and report of the ledger by themselves, each waiting for its commit.
import { setTimeout as delay } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import { rawLedgerSettings } from "../drain/raw-ledger-settings.js";
import { benchKind, payloadOf } from "../job-payload.js";
import { keepBusy } from "../life/keep-busy.js";
import type { LifeParams, LifeSays } from "../life/life-program.js";
import { openRawBook } from "../raw-book.js";
import { runProgram } from "../run-program.js";

export interface RawLifeParams {
  readonly databaseUrl: string;
  readonly life: LifeParams;
}

const { batchJobs, batchesInFlight } = rawLedgerSettings;
const lookAgainMs = 1;

await runProgram<RawLifeParams, LifeSays>(async ({ databaseUrl, life }, say, signal) => {
  if (life.preloaded > 0) throw new Error("The raw SQL has no lanes to find a backlog in.");
  const { ledger, tenantId, workOff } = await openRawBook(databaseUrl);
  const names = { product: "default", queue: "default", kind: benchKind, capabilities: [], source: "" };
  const [known] = await ledger.ensureLane({ tenantId, ...names, priority: 2, fairnessKey: "" }, 1, 10);
  if (!known) throw new Error("The ledger made no lane.");
  const spec = {
    ...names,
    priority: 2,
    fairness: { key: "", weight: 1 },
    payload: Buffer.from(JSON.stringify(payloadOf(life.payloadBytes))),
    contentType: "application/json",
    idempotencyKey: "",
    runAtMs: null,
    deadlineMs: null,
    retry: { maxAttempts: 5, initialBackoffMs: 1_000, factor: 2, maxBackoffMs: 300_000 },
    options: {},
  } as const;
  const ready: string[] = [];
  let committed = 0;
  let isOver = false;
  const submit = async (count: number) => {
    const items = Array.from({ length: count }, () => ({
      jobId: uuidv7(),
      tenantId,
      laneId: known.lane.laneId,
      spec,
      leaseTo: null,
    }));
    const results = await ledger.submit(items);
    if (!results.every((result) => "type" in result && result.type === "accepted"))
      throw new Error("A job was not accepted.");
    ready.push(...items.map(({ jobId }) => jobId));
  };
  const workInTurn = async () => {
    while (!isOver) {
      signal.throwIfAborted();
      const batch = ready.splice(0, batchJobs);
      if (batch.length === 0) {
        await delay(lookAgainMs);
        continue;
      }
      await workOff(batch);
      committed += batch.length;
    }
  };
  const working = Promise.all(Array.from({ length: batchesInFlight }, workInTurn));
  await keepBusy({ submit, committed: () => committed, failed: working }, life, say, signal);
  isOver = true;
  await working;
  return () => ledger.stop();
});
