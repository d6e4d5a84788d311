import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import {
  type ClaimResponse,
  type Lease,
  RevokeReason,
  Verdict,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { claimOne } from "../harness/ledger-acts.js";
import { openLedgerRoom } from "../harness/ledger-room.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, greeting, success } from "../harness/raw-worker.js";

const house = useHub();
const { claim, renew, report } = WorkerService.method;

const workerOf = (kind: string) => ({ ...greeting, kinds: [kind] });
const firstOf = ({ leases }: ClaimResponse): Lease => {
  const [first] = leases?.leases ?? [];
  if (!first) throw new Error("no lease was granted");
  return first;
};
const idsOf = (leases: readonly Lease[] | undefined) => (leases ?? []).map((lease) => lease.jobId);

test("Claim opens a session, Report commits, and a repeated report is DUPLICATE (D5)", async () => {
  const client = house.client();
  const [jobId = ""] = await submitMany(client, [{ kind: "called", payload: Buffer.from("in") }]);
  const claimed = await client.call(claim, { requestId: "1", worker: workerOf("called"), maxJobs: 5 });
  expect(claimed.timeLeft).toMatchObject({ seconds: 1n });
  const lease = firstOf(claimed);
  expect(lease).toMatchObject({ jobId, attempt: 1, kind: "called" });
  const { sessionId } = claimed;
  const { fencingToken } = lease;
  const request = {
    sessionId,
    deliveredThrough: claimed.leases?.delivery ?? 0n,
    checkpoints: [{ jobId, fencingToken, sequence: 1n, state: Buffer.from("s") }],
    results: [{ jobId, fencingToken, outcome: { outcome: success("out") } }],
  };
  const first = await client.call(report, request);
  expect(first.checkpoints).toMatchObject([{ verdict: Verdict.COMMITTED }]);
  expect(first.verdicts).toMatchObject([{ verdict: Verdict.COMMITTED, state: JobState.SUCCEEDED }]);
  const second = await client.call(report, { ...request, checkpoints: [] });
  expect(second.verdicts).toMatchObject([{ verdict: Verdict.DUPLICATE }]);
});

test("repeating the newest request repeats its leases, also on a hub that was started anew; another takes others", async () => {
  const client = house.client();
  await submitMany(
    client,
    Array.from({ length: 6 }, () => ({ kind: "again" })),
  );
  const first = await client.call(claim, { requestId: "a", worker: workerOf("again"), maxJobs: 3 });
  expect(first.leases?.leases).toHaveLength(3);
  const { sessionId } = first;
  const repeated = await client.call(claim, { requestId: "a", sessionId, maxJobs: 3 });
  expect(repeated.leases?.delivery).toBe(first.leases?.delivery);
  expect(idsOf(repeated.leases?.leases).sort()).toEqual(idsOf(first.leases?.leases).sort());
  await house.restart();
  const anew = house.client();
  const afterwards = await anew.call(claim, { requestId: "a", sessionId, maxJobs: 3 });
  expect(idsOf(afterwards.leases?.leases).sort()).toEqual(idsOf(first.leases?.leases).sort());
  const others = await anew.call(claim, { requestId: "b", sessionId, maxJobs: 3 });
  expect(others.leases?.leases).toHaveLength(3);
  expect(new Set([...idsOf(first.leases?.leases), ...idsOf(others.leases?.leases)]).size).toBe(6);
  const done = idsOf(others.leases?.leases)[0] as string;
  const { fencingToken } = firstOf(others);
  await anew.call(report, {
    sessionId,
    results: [{ jobId: done, fencingToken, outcome: { outcome: success("x") } }],
  });
  const rest = await anew.call(claim, { requestId: "b", sessionId, maxJobs: 3 });
  expect(idsOf(rest.leases?.leases)).not.toContain(done);
  expect(rest.leases?.leases).toHaveLength(2);
});

test("a hub that was started anew takes an acknowledgement that came with a Report to the former one (D6)", async () => {
  await house.restart({ sessionTtlMs: 30_000 });
  const client = house.client();
  await submitMany(client, [{ kind: "reported" }, { kind: "reported" }]);
  const first = await client.call(claim, { requestId: "1", worker: workerOf("reported"), maxJobs: 1 });
  const { sessionId } = first;
  const second = await client.call(claim, { requestId: "2", sessionId, maxJobs: 1 });
  const deliveredThrough = second.leases?.delivery ?? 0n;
  const results = [firstOf(first), firstOf(second)].map(({ jobId, fencingToken }) => ({
    ...{ jobId, fencingToken },
    outcome: { outcome: success("out") },
  }));
  await client.call(report, { sessionId, deliveredThrough, results });
  await until(async () => {
    const text = "select from delivery where session_id = $1 and delivery < $2";
    return (await house.query(text, [sessionId, deliveredThrough])).length === 0;
  }, "the settled delivery to be forgotten");
  await house.restart();
  const anew = house.client();
  await submitOne(anew, { kind: "reported" });
  const third = await anew.call(claim, { requestId: "3", sessionId, maxJobs: 1, deliveredThrough });
  expect(third.leases?.delivery).toBeGreaterThan(deliveredThrough);
});

test("no Claim answers more leases than it asked for, nor more bytes, whatever the one before asked", async () => {
  const client = house.client();
  await submitMany(
    client,
    Array.from({ length: 600 }, () => ({ kind: "counted", payload: Buffer.alloc(100) })),
  );
  let sessionId = "";
  let open: Lease[] = [];
  for (const [at, maxJobs] of [400, 1, 2, 300, 1, 5].entries()) {
    const named = sessionId === "" ? { worker: workerOf("counted") } : { sessionId };
    const maxBytes = 20_000n;
    const claimed = await client.call(claim, { ...named, requestId: `${at}`, maxJobs, maxBytes });
    sessionId = claimed.sessionId;
    open = claimed.leases?.leases ?? [];
    expect(open.length).toBeGreaterThan(0);
    expect(open.length).toBeLessThanOrEqual(maxJobs);
    expect(100 * open.length).toBeLessThanOrEqual(Number(maxBytes));
  }
});

test("a Claim that may wait answers with the first lease as soon as there is one; one that may not, at once", async () => {
  const client = house.client();
  const empty = await client.call(claim, { requestId: "1", worker: workerOf("awaited"), maxJobs: 1 });
  expect(empty.leases).toBeUndefined();
  const { sessionId } = empty;
  const waiting = client.call(claim, { requestId: "2", sessionId, maxJobs: 1, wait: duration(5_000) });
  const beganAt = Date.now();
  const jobId = await submitOne(client, { kind: "awaited" });
  expect(idsOf((await waiting).leases?.leases)).toEqual([jobId]);
  expect(Date.now() - beganAt).toBeLessThan(1_000);
});

test("a Claim that waits longer than the session lives keeps the session alive (D6)", async () => {
  const client = house.client();
  const opened = await client.call(claim, {
    requestId: "1",
    worker: workerOf("patient"),
    maxJobs: 1,
    wait: duration(2_500),
  });
  await client.call(renew, { sessionId: opened.sessionId });
});

test("Renew keeps the session and its leases, and tells of revokes; without it all is over (D6)", async () => {
  const client = house.client();
  const [first = "", second = ""] = await submitMany(client, [{ kind: "renewed" }, { kind: "renewed" }]);
  const claimed = await client.call(claim, { requestId: "1", worker: workerOf("renewed"), maxJobs: 2 });
  const { sessionId } = claimed;
  const deliveredThrough = claimed.leases?.delivery ?? 0n;
  const beganAt = Date.now();
  await until(async () => {
    await client.call(renew, { sessionId, deliveredThrough });
    return Date.now() - beganAt > 2_000;
  }, "renewals beyond the TTL");
  expect((await getJob(client, first)).state).toBe(JobState.LEASED);
  await client.call(JobService.method.cancel, { jobId: first });
  expect((await client.call(renew, { sessionId })).revoke?.leases).toMatchObject([
    { jobId: first, reason: RevokeReason.CANCELLED },
  ]);
  expect((await client.call(renew, { sessionId })).revoke).toBeUndefined();
  await until(async () => (await getJob(client, second)).state === JobState.READY, "the lease taken back");
  expect((await getJob(client, second)).attempt).toBe(1);
  for (const failure of [
    await client.refused(renew, { sessionId }),
    await client.refused(report, { sessionId }),
    await client.refused(claim, { requestId: "9", sessionId, maxJobs: 1 }),
  ])
    expect(failure).toMatchObject({ code: 10, domain: "holdfast", reason: "SESSION_EXPIRED" });
});

test("Report gives leases back; nobody acts on a lease of another session (D4)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "returned" });
  const claimed = await client.call(claim, { requestId: "1", worker: workerOf("returned"), maxJobs: 1 });
  const { fencingToken } = firstOf(claimed);
  const other = await attachWorker(client, { kinds: ["other"] });
  expect((await other.succeed({ jobId, fencingToken })).verdict).toBe(Verdict.STALE);
  other.stream.send({ case: "release", value: { leases: [{ jobId, fencingToken, started: false }] } });
  await other.stream.next("heartbeat");
  expect((await getJob(client, jobId)).state).toBe(JobState.LEASED);
  await client.call(report, {
    sessionId: claimed.sessionId,
    releases: [{ jobId, fencingToken, started: false }],
  });
  expect(await getJob(client, jobId)).toMatchObject({ state: JobState.READY, attempt: 0 });
});

test("what a hub granted and died before it answered is the answer of another hub, unless the worker had it (D6)", async () => {
  const client = house.client();
  const { sessionId } = await client.call(claim, { requestId: "1", worker: workerOf("granted"), maxJobs: 1 });
  const [lost = "", had = ""] = await submitMany(client, [{ kind: "granted" }, { kind: "granted" }]);
  const dying = await openLedgerRoom(house.hub().databaseUrl);
  await dying.ledger.resumeSession({ sessionId, tenantId: 1, keyId: "", subject: "", ttlMs: 60_000 });
  await claimOne(dying.ledger, sessionId, had, 1);
  await claimOne(dying.ledger, sessionId, lost, 2);
  await dying.close();
  const request = { requestId: "2", sessionId, maxJobs: 1, deliveredThrough: 1n };

  const claimed = await client.call(claim, request);

  expect(claimed.leases?.delivery).toBe(2n);
  expect(firstOf(claimed)).toMatchObject({ jobId: lost, attempt: 1 });
  const next = await client.call(claim, { ...request, requestId: "3", deliveredThrough: 2n });
  expect(next.leases).toBeUndefined();
});
