import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { type HeldVerdict, LostReason, Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { openRawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, keyOf, type LeaseKey, type RawWorker, success } from "../harness/raw-worker.js";

const house = useHub();

const lostOf = ({ kept, lostReason }: HeldVerdict) => [kept, lostReason];

/** A worker that holds so many leases of a kind, and has acknowledged them. */
async function workerWith(count: number, kind: string): Promise<RawWorker> {
  const client = house.client();
  await submitMany(
    client,
    Array.from({ length: count }, () => ({ kind })),
  );
  const worker = await attachWorker(client, { kinds: [kind] });
  worker.credit(count);
  await until(() => worker.leases.length === count, `${count} leases`);
  worker.stream.send({ case: "heartbeat", value: { nonce: 900n, echo: 0n } }, worker.delivered());
  await worker.stream.next("heartbeat", (beat) => beat.echo === 900n);
  return worker;
}

test("a worker that comes back in time keeps the leases it names; the others go back to ready at once, and count (D6)", async () => {
  const first = await workerWith(3, "named");
  const [held, ...left] = first.leases;
  first.vanish();
  const { sessionId } = first.welcome;
  const back = await attachWorker(house.client(), {
    kinds: ["named"],
    sessionId,
    held: [keyOf(held as LeaseKey)],
  });
  expect(back.welcome).toMatchObject({ resumed: true, sessionId });
  expect(back.welcome.held.map(lostOf)).toEqual([[true, LostReason.UNSPECIFIED]]);
  const other = await attachWorker(house.client(), { kinds: ["named"] });
  other.credit(5);
  const again = [await other.lease(), await other.lease()];
  expect(new Set(again.map((lease) => lease.jobId))).toEqual(new Set(left.map((lease) => lease.jobId)));
  expect(again.map((lease) => lease.attempt)).toEqual([2, 2]);
  expect((await back.succeed(held as LeaseKey)).verdict).toBe(Verdict.COMMITTED);
  const { history } = await house.client().call(JobService.method.get, {
    jobId: (left[0] as LeaseKey).jobId,
    includeHistory: true,
  });
  expect(history.map((event) => event.type)).toContain(JobEventType.EXPIRED);
});

test("delivery numbers go on rising across a resume", async () => {
  const first = await workerWith(2, "rising");
  const before = first.delivered();
  first.vanish();
  const { sessionId } = first.welcome;
  const held = first.leases.map(keyOf);
  const back = await attachWorker(house.client(), { kinds: ["rising"], sessionId, held });
  await submitOne(house.client(), { kind: "rising" });
  back.credit(1);
  await back.lease();
  expect(back.delivered()).toBeGreaterThan(before);
});

test("a newer stream of a session supersedes the older one, whose leases it takes along (D4)", async () => {
  const older = await workerWith(1, "newer");
  const held = older.leases.map(keyOf);
  const { sessionId } = older.welcome;
  const newer = await attachWorker(house.client(), { kinds: ["newer"], sessionId, held });
  expect(await older.stream.ended).toMatchObject({ code: 10, domain: "holdfast", reason: "SUPERSEDED" });
  expect((await newer.succeed(held[0] as LeaseKey)).verdict).toBe(Verdict.COMMITTED);
});

test("a session that was resumed on another hub ends its stream here as SUPERSEDED (D6)", async () => {
  const here = await workerWith(1, "moved");
  const peer = await house.startPeer();
  const there = openRawClient(peer.grpcAddress);
  const held = here.leases.map(keyOf);
  const { sessionId } = here.welcome;
  const moved = await attachWorker(there, { kinds: ["moved"], sessionId, held });
  expect(moved.welcome.held.map(lostOf)).toEqual([[true, LostReason.UNSPECIFIED]]);
  expect(await here.stream.ended).toMatchObject({ code: 10, reason: "SUPERSEDED" });
  expect((await moved.succeed(held[0] as LeaseKey)).verdict).toBe(Verdict.COMMITTED);
  there.close();
});

test("a session that expired is answered with a new one, and every lease lost for that reason (D6)", async () => {
  const gone = await workerWith(1, "gone");
  const { sessionId } = gone.welcome;
  gone.vanish();
  await until(async () => {
    const text = "select 1 from session where session_id = $1 and state > 1";
    return (await house.query(text, [sessionId])).length > 0;
  }, "the end of the session");
  const held = gone.leases.map(keyOf);
  const back = await attachWorker(house.client(), { kinds: ["gone"], sessionId, held });
  expect(back.welcome.resumed).toBe(false);
  expect(back.welcome.sessionId).not.toBe(sessionId);
  expect(back.welcome.held.map(lostOf)).toEqual([[false, LostReason.SESSION_EXPIRED]]);
  expect((await back.succeed(held[0] as LeaseKey)).verdict).toBe(Verdict.STALE);
});

test("a resuming worker is told which of its leases were reported, and which are not current any more (D5)", async () => {
  const first = await workerWith(3, "told");
  const [reported, cancelled, kept] = first.leases.map(keyOf) as [LeaseKey, LeaseKey, LeaseKey];
  expect((await first.succeed(reported)).verdict).toBe(Verdict.COMMITTED);
  await house.client().call(JobService.method.cancel, { jobId: cancelled.jobId });
  first.vanish();
  const unknown = { jobId: "01980000-0000-7000-8000-000000000000", fencingToken: 1n };
  const held = [reported, cancelled, kept, unknown];
  const { sessionId } = first.welcome;
  const back = await attachWorker(house.client(), { kinds: ["told"], sessionId, held });
  expect(back.welcome.held.map(keyOf)).toEqual(held);
  expect(back.welcome.held.map(lostOf)).toEqual([
    [false, LostReason.REPORTED],
    [false, LostReason.STALE_FENCE],
    [true, LostReason.UNSPECIFIED],
    [false, LostReason.STALE_FENCE],
  ]);
});

test("a worker that comes back with other handlers is leased jobs for those, and none for the former", async () => {
  const first = await attachWorker(house.client(), { kinds: ["former"] });
  first.vanish();
  const { sessionId } = first.welcome;
  const back = await attachWorker(house.client(), { kinds: ["latter"], sessionId, workerName: "rebuilt" });
  expect(back.welcome.resumed).toBe(true);
  back.credit(2);
  await submitOne(house.client(), { kind: "former" });
  const jobId = await submitOne(house.client(), { kind: "latter" });
  expect(await back.lease()).toMatchObject({ jobId, kind: "latter" });
  expect(back.leases).toHaveLength(1);
});

test("a hub that is started anew takes its workers back with their leases (D1, D6)", async () => {
  const first = await workerWith(2, "restart");
  const held = first.leases.map(keyOf);
  const { sessionId } = first.welcome;
  await house.restart();
  const back = await attachWorker(house.client(), { kinds: ["restart"], sessionId, held });
  expect(back.welcome).toMatchObject({ resumed: true, sessionId });
  expect(back.welcome.held.map(lostOf)).toEqual(held.map(() => [true, LostReason.UNSPECIFIED]));
  for (const lease of held)
    expect(await back.succeed(lease)).toMatchObject({
      verdict: Verdict.COMMITTED,
      state: JobState.SUCCEEDED,
    });
});

test("a hub that is started anew takes an acknowledgement that the former one took to its end (D6)", async () => {
  await house.emptied();
  // No heartbeat carries it into the ledger.
  await house.restart({ sessionTtlMs: 30_000, heartbeatIntervalMs: 10_000 });
  const first = await attachWorker(house.client(), { kinds: ["forgotten"] });
  first.fallSilent();
  for (let count = 1; count <= 2; count += 1) {
    first.credit(1);
    await submitOne(house.client(), { kind: "forgotten" });
    await first.lease();
  }
  const before = first.delivered();
  const results = first.leases.map((lease) => ({ ...keyOf(lease), outcome: { outcome: success("done") } }));
  first.stream.send({ case: "report", value: { results } }, before);
  await first.stream.next("verdicts");
  const { sessionId } = first.welcome;
  await until(async () => {
    const text = "select from delivery where session_id = $1 and delivery < $2";
    return (await house.query(text, [sessionId, before])).length === 0;
  }, "the settled delivery to be forgotten");
  await house.emptied();
  await house.restart();
  const back = await attachWorker(house.client(), { kinds: ["forgotten"], sessionId });
  expect(back.welcome.resumed).toBe(true);
  back.stream.send({ case: "credit", value: { jobs: 1, bytes: 1_000n } }, before);
  await submitOne(house.client(), { kind: "forgotten" });
  await back.lease();
  expect(back.delivered()).toBeGreaterThan(before);
});

// Last, because its keys close the open hub.
test("nobody else resumes a session: not another subject, not another tenant; to them it has expired", async () => {
  const admin = { subject: "admin", scopes: ["access:admin", "jobs:submit"] };
  const { apiKey: adminKey } = await house.client().call(AccessService.method.createKey, admin);
  const keyFor = async (subject: string, tenant: string) => {
    const request = { subject, tenant, scopes: ["workers:attach"] };
    return (await house.client({ apiKey: adminKey }).call(AccessService.method.createKey, request)).apiKey;
  };
  const clientOf = async (subject: string, tenant = "default") =>
    house.client({ apiKey: await keyFor(subject, tenant) });
  await submitOne(house.client({ apiKey: adminKey }), { kind: "owned" });
  const owner = await attachWorker(await clientOf("owner"), { kinds: ["owned"] });
  owner.credit(1);
  const lease = await owner.lease();
  const { sessionId } = owner.welcome;
  for (const stranger of [await clientOf("stranger"), await clientOf("owner", "elsewhere")]) {
    const thief = await attachWorker(stranger, { kinds: ["owned"], sessionId, held: [keyOf(lease)] });
    expect(thief.welcome.resumed).toBe(false);
    expect(thief.welcome.held.map(lostOf)).toEqual([[false, LostReason.SESSION_EXPIRED]]);
    expect((await thief.succeed(lease)).verdict).toBe(Verdict.STALE);
  }
  const sameSubject = await clientOf("owner");
  owner.vanish();
  const back = await attachWorker(sameSubject, { kinds: ["owned"], sessionId, held: [keyOf(lease)] });
  expect(back.welcome.resumed).toBe(true);
  expect((await back.succeed(lease)).verdict).toBe(Verdict.COMMITTED);
});
