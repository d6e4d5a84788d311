// The limit: the statements of the ledger by themselves, on their one connection, in the batches that a busy hub
// makes. No hub, no gRPC, no session to look after, and the refs are known before the clock starts.
import { randomUUID } from "node:crypto";
import { readHubConfig } from "@holdfast/hub/config";
import { type Ledger, openLedger } from "@holdfast/hub/ledger";
import { decideOutcome, type Outcome } from "@holdfast/hub/outcome";
import type { DrainMarks } from "../drain/contestant.js";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";

export interface RawLedgerParams {
  readonly databaseUrl: string;
  readonly jobs: number;
  readonly batchJobs: number;
  /** Batches that are claimed or reported at once, so that the connection never waits for this program. */
  readonly batchesInFlight: number;
}

export type RawLedgerSays = { readonly drained: DrainMarks };

const pageJobs = 10_000;
const done: Outcome = { type: "success", result: new Uint8Array(), contentType: "" };
const decision = decideOutcome(
  done,
  1,
  { maxAttempts: 1, initialBackoffMs: 0, factor: 1, maxBackoffMs: 0 },
  0,
);

await runProgram<RawLedgerParams, RawLedgerSays>(async (params, say, signal) => {
  const config = readHubConfig();
  const fail = (error: unknown) => {
    throw error;
  };
  const ledger = await openLedger({
    databaseUrl: params.databaseUrl,
    hubVersion: "raw-ledger",
    readConnectionsMax: 1,
    limits: config,
    observer: {
      committed: () => undefined,
      pageCommitted: () => undefined,
      disconnected: fail,
      reconnected: () => undefined,
      poisoned: (_statement, error) => fail(error),
    },
    onReadError: fail,
  });
  const jobIds = await readBacklog(ledger);
  if (jobIds.length !== params.jobs) throw new Error(`${jobIds.length} jobs are ready, not ${params.jobs}.`);
  const sessionId = await openSession(ledger, config.sessionTtlMs);
  let firstLeaseAtMs = 0;
  let delivery = 0;
  let at = 0;
  const drainInTurn = async () => {
    while (at < jobIds.length) {
      signal.throwIfAborted();
      const batch = jobIds.slice(at, at + params.batchJobs);
      at += batch.length;
      delivery += 1;
      const number = delivery;
      const leases = await ledger.claim(batch.map((jobId) => ({ jobId, sessionId, delivery: number })));
      if (firstLeaseAtMs === 0) firstLeaseAtMs = nowMs();
      const reports = leases.map((lease) => {
        if (lease === null || lease instanceof Error) throw new Error("A job that was ready was not leased.");
        return { jobId: lease.jobId, sessionId, fencingToken: lease.fencingToken, outcome: done, decision };
      });
      const verdicts = await ledger.report(reports);
      if (!verdicts.every((verdict) => "type" in verdict && verdict.type === "committed"))
        throw new Error("A result was not committed.");
    }
  };
  await Promise.all(Array.from({ length: params.batchesInFlight }, drainInTurn));
  say("drained", { firstLeaseAtMs, lastVerdictAtMs: nowMs() });
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

async function openSession(ledger: Ledger, ttlMs: number): Promise<string> {
  const tenantId = await ledger.findTenant("default");
  if (!tenantId) throw new Error("The ledger has no default tenant.");
  const sessionId = randomUUID();
  await ledger.openSession({
    sessionId,
    tenantId,
    keyId: "",
    subject: "bench",
    workerName: "bench",
    profile: { kinds: [benchKind], capabilities: [], products: [], queues: [] },
    ttlMs,
  });
  return sessionId;
}
