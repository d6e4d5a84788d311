// The ledger by itself, as the raw SQL contestants use it: its statements on their one connection, in the batches that
// a busy hub makes. No hub, no gRPC, no session to look after.
import { randomUUID } from "node:crypto";
import { readHubConfig } from "@holdfast/hub/config";
import { type Ledger, openLedger } from "@holdfast/hub/ledger";
import { decideOutcome, type Outcome } from "@holdfast/hub/outcome";
import { benchKind } from "./job-payload.js";

export interface RawBook {
  readonly ledger: Ledger;
  readonly tenantId: number;
  /** Claims these jobs and reports that they succeeded, in two commits. */
  workOff(jobIds: readonly string[]): Promise<void>;
}

const done: Outcome = { type: "success", result: new Uint8Array(), contentType: "" };
const decision = decideOutcome(
  done,
  1,
  { maxAttempts: 1, initialBackoffMs: 0, factor: 1, maxBackoffMs: 0 },
  0,
);

export async function openRawBook(databaseUrl: string): Promise<RawBook> {
  const config = readHubConfig();
  const fail = (error: unknown) => {
    throw error;
  };
  const ledger = await openLedger({
    databaseUrl,
    hubVersion: "raw-ledger",
    readConnectionsMax: 1,
    limits: config,
    observer: {
      committed: () => undefined,
      pageCommitted: () => undefined,
      runsAdvanced: () => undefined,
      jobsWoken: () => undefined,
      disconnected: fail,
      reconnected: () => undefined,
      poisoned: (_statement, error) => fail(error),
      heldUp: (_statement, error) => fail(error),
    },
    onReadError: fail,
  });
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
    ttlMs: config.sessionTtlMs,
  });
  const { epoch: gateEpoch } = await ledger.readGateEpoch();
  let delivery = 0;
  const workOff = async (jobIds: readonly string[]) => {
    delivery += 1;
    const number = delivery;
    const claims = jobIds.map((jobId) => ({ jobId, sessionId, delivery: number, gateEpoch }));
    const leases = await ledger.claim(claims);
    const reports = leases.map((lease) => {
      if (lease === null || typeof lease === "string" || !("jobId" in lease))
        throw new Error("A job that was ready was not leased.");
      return {
        jobId: lease.jobId,
        sessionId,
        fencingToken: lease.fencingToken,
        outcome: done,
        decision,
        isLinked: false,
      };
    });
    const verdicts = await ledger.report(reports);
    if (!verdicts.every((verdict) => "type" in verdict && verdict.type === "committed"))
      throw new Error("A result was not committed.");
  };
  return { ledger, tenantId, workOff };
}
