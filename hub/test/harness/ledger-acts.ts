import { v7 as uuidv7 } from "uuid";
import { Fault } from "../../src/domain/fault.js";
import type { JobSpec } from "../../src/domain/job-spec.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { Operator } from "../../src/domain/operation.js";
import { decideOutcome, type Outcome } from "../../src/domain/outcome.js";
import { defaultRetryPolicy } from "../../src/domain/retry.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { ReportItem } from "../../src/ledger/report-results.js";
import type { SubmitItem } from "../../src/ledger/submit-jobs.js";
import { jobSpec } from "./job-spec.js";
import type { LedgerRoom } from "./ledger-room.js";

export const done: Outcome = { type: "success", result: Buffer.from("done"), contentType: "text/plain" };
export const failed: Outcome = {
  type: "failure",
  code: "BOOM",
  message: "it broke",
  permanent: false,
  retryAfterMs: 0,
};
/** Of a ledger in which nobody has set a gate. */
export const firstGateEpoch = 1;
export const quickRetry = { ...defaultRetryPolicy, initialBackoffMs: 0 };

/** Somebody without a key who changes something. */
export function operator(reason = "", tenantId = 1): Operator {
  return { tenantId, subject: "", reason, ticket: "" };
}

export function submitItem(room: LedgerRoom, overrides: Partial<JobSpec> = {}): SubmitItem {
  return { jobId: uuidv7(), tenantId: 1, laneId: room.lane.laneId, spec: jobSpec(overrides), leaseTo: null };
}

/** Submits so many jobs and answers their ids. */
export async function submitMany(
  room: LedgerRoom,
  count: number,
  overrides: Partial<JobSpec> = {},
  ledger: Ledger = room.ledger,
): Promise<string[]> {
  const items = Array.from({ length: count }, () => submitItem(room, overrides));
  unrefused(await ledger.submit(items));
  return items.map((item) => item.jobId);
}

export async function submitOne(room: LedgerRoom, overrides: Partial<JobSpec> = {}): Promise<string> {
  const [jobId] = await submitMany(room, 1, overrides);
  return jobId as string;
}

export async function openSession(room: LedgerRoom, ttlMs = 30_000, ledger: Ledger = room.ledger) {
  const sessionId = uuidv7();
  await ledger.openSession({
    sessionId,
    tenantId: 1,
    keyId: "",
    subject: "",
    workerName: "greeter",
    profile: { kinds: ["greet"], capabilities: [], products: [], queues: [] },
    ttlMs,
  });
  return sessionId;
}

/** Claims jobs for a session into one delivery; null for those that were not ready. */
export async function claimAll(
  ledger: Ledger,
  sessionId: string,
  jobIds: readonly string[],
  delivery = 1,
): Promise<(GrantedLease | null)[]> {
  const items = jobIds.map((jobId) => ({ jobId, sessionId, delivery, gateEpoch: firstGateEpoch }));
  return unrefused(await ledger.claim(items)).map((result) => {
    if (result === null || (typeof result === "object" && "jobId" in result)) return result;
    throw new Error(`Gates stand in the way: ${JSON.stringify(result)}`);
  });
}

export async function claimOne(
  ledger: Ledger,
  sessionId: string,
  jobId: string,
  delivery = 1,
): Promise<GrantedLease> {
  const [lease] = await claimAll(ledger, sessionId, [jobId], delivery);
  if (!lease) throw new Error(`${jobId} was not granted`);
  return lease;
}

/** A report of a lease, decided as a hub decides it. */
export function reportItem(sessionId: string, lease: GrantedLease, outcome: Outcome): ReportItem {
  const policy = lease.options.retry ?? { ...defaultRetryPolicy, maxAttempts: lease.attemptsMax };
  return {
    jobId: lease.jobId,
    sessionId,
    fencingToken: lease.fencingToken,
    outcome,
    decision: decideOutcome(outcome, lease.attempt, policy, 0.5),
    isLinked: lease.options.run !== undefined,
  };
}

/** Results of a batch in which nothing may have been refused. */
export function unrefused<Result>(results: readonly (Result | Fault)[]): Result[] {
  return results.map((result) => {
    if (result instanceof Fault) throw result;
    return result;
  });
}

export interface JobRow {
  readonly state: number;
  readonly attempt: number;
  readonly token: number;
  readonly revision: number;
  readonly session_id: string | null;
  readonly lane_id: number;
}

export async function readRow(room: LedgerRoom, jobId: string): Promise<JobRow> {
  const [row] = await room.sql<JobRow>(
    "select state, attempt, fencing_token::integer as token, revision, session_id, lane_id from job where id = $1",
    [jobId],
  );
  if (!row) throw new Error(`${jobId} is not in the ledger`);
  return row;
}
