import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import { lastUuid } from "../../src/domain/uuid.js";
import { createMemoryLanes } from "../../src/lanes/memory-lanes.js";
import type { RenewItem } from "../../src/ledger/renew-sessions.js";
import { JobFeed } from "../../src/services/job-feed.js";
import { leaseReturner } from "../../src/services/leases-back.js";
import { Reaper } from "../../src/services/reaper.js";
import {
  claimAll,
  claimOne,
  done,
  openSession,
  readRow,
  reportItem,
  submitMany,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(async () => {
  await expectBooksInOrder(room);
  await room.close();
});

function renewal(sessionId: string, overrides: Partial<RenewItem> = {}): RenewItem {
  return {
    sessionId,
    epoch: 1,
    ttlMs: 30_000,
    deliveredThrough: 0,
    isDraining: false,
    lastRequest: null,
    ...overrides,
  };
}

async function renew(...items: RenewItem[]) {
  return unrefused(await room.ledger.renewSessions(items));
}

const resume = (sessionId: string, overrides: { tenantId?: number; subject?: string } = {}) =>
  room.ledger.resumeSession({ sessionId, tenantId: 1, keyId: "", subject: "", ttlMs: 30_000, ...overrides });

async function timeLeftMs(sessionId: string): Promise<number> {
  const [row] = await room.sql<{ left: number }>(
    "select extract(epoch from expires_at - now())::float8 * 1000 as left from session where session_id = $1",
    [sessionId],
  );
  return row?.left ?? Number.NaN;
}

/** Lets a session run out by the ledger's clock, without waiting for it. */
async function runOut(sessionId: string): Promise<void> {
  await room.sql("update session set expires_at = now() - interval '1 ms' where session_id = $1", [
    sessionId,
  ]);
}

/** Has a hub look for leases of expired sessions, until there are none. */
async function reapOnce(): Promise<void> {
  const feed = new JobFeed({ changed: () => undefined, watching: () => undefined });
  const lanes = createMemoryLanes({ windowRefsMax: 10_000 });
  const returnLeases = leaseReturner(room.ledger, lanes, feed, () => undefined);
  const failures: unknown[] = [];
  const reaper = new Reaper(
    room.ledger,
    returnLeases,
    () => undefined,
    (error) => failures.push(error),
  );
  reaper.start();
  await until(
    async () => (await room.sql("select from session where state = 2")).length === 0,
    "no session is expired",
  );
  await reaper.stop();
  feed.stop();
  expect(failures).toEqual([]);
}

describe("a session (D6)", () => {
  it("lives for its time by the ledger's clock, and longer with every renewal", async () => {
    const sessionId = await openSession(room, 5_000);
    expect(await timeLeftMs(sessionId)).toBeGreaterThan(3_000);
    expect(await timeLeftMs(sessionId)).toBeLessThanOrEqual(5_000);

    expect(await renew(renewal(sessionId, { ttlMs: 60_000 }))).toEqual(["renewed"]);

    expect(await timeLeftMs(sessionId)).toBeGreaterThan(55_000);
  });

  it("that ran out is neither renewed nor resumed, also before anybody marked it", async () => {
    const sessionId = await openSession(room);
    await runOut(sessionId);

    expect(await renew(renewal(sessionId))).toEqual(["expired"]);
    expect(await resume(sessionId)).toEqual({ type: "expired" });
    expect(await room.ledger.expireSessions(100)).toContain(sessionId);
    expect(await room.ledger.expireSessions(100)).not.toContain(sessionId);
    expect(await renew(renewal(sessionId), renewal(uuidv7()))).toEqual(["expired", "expired"]);
  });

  it("is expired no more at once than asked for, each by one hub", async () => {
    const sessions = await Promise.all(Array.from({ length: 12 }, () => openSession(room)));
    await Promise.all(sessions.map(runOut));
    const other = await room.openLedger();

    const few = await room.ledger.expireSessions(5);
    const rest = await Promise.all([room.ledger, other].map((ledger) => ledger.expireSessions(100)));

    expect(few).toHaveLength(5);
    expect([...few, ...rest.flat()].sort()).toEqual([...sessions].sort());
  });

  it("is resumed with its leases, deliveries and newest call by its own tenant and subject only", async () => {
    const sessionId = await openSession(room);
    const ids = await submitMany(room, 3);
    await claimAll(room.ledger, sessionId, ids.slice(0, 2), 1);
    await claimAll(room.ledger, sessionId, ids.slice(2), 2);
    await renew(renewal(sessionId, { deliveredThrough: 1, lastRequest: { requestId: "r", delivery: 2 } }));

    expect(await resume(sessionId, { tenantId: 2 })).toEqual({ type: "expired" });
    expect(await resume(sessionId, { subject: "somebody" })).toEqual({ type: "expired" });
    const resumed = await resume(sessionId);

    expect(resumed).toMatchObject({
      type: "resumed",
      epoch: 2,
      deliveredThrough: 1,
      lastDelivery: 2,
      workerName: "greeter",
      deliveries: [1, 2],
      lastRequest: { requestId: "r", delivery: 2 },
    });
    const leases = resumed.type === "resumed" ? resumed.leases : [];
    expect(leases.map((lease) => [lease.jobId, lease.delivery]).sort()).toEqual(
      [
        [ids[0], 1],
        [ids[1], 1],
        [ids[2], 2],
      ].sort(),
    );
  });

  it("that was resumed tells its older stream that it is superseded (D4)", async () => {
    const sessionId = await openSession(room);
    await resume(sessionId);

    expect(await renew(renewal(sessionId, { epoch: 1 }))).toEqual(["superseded"]);
    expect(await renew(renewal(sessionId, { epoch: 2 }))).toEqual(["renewed"]);
  });

  it("is renewed for its newer stream although its older one renews in the same batch", async () => {
    const sessionId = await openSession(room);
    await resume(sessionId);
    const [older, newer] = [renewal(sessionId, { epoch: 1 }), renewal(sessionId, { epoch: 2 })];

    expect(await renew(older, newer)).toEqual(["superseded", "renewed"]);
    expect(await renew(newer, older)).toEqual(["renewed", "superseded"]);
  });

  it("forgets deliveries that are settled, and never how far it had acknowledged", async () => {
    const sessionId = await openSession(room);
    for (const delivery of [1, 2, 3]) await claimOne(room.ledger, sessionId, await submitOne(room), delivery);

    await renew(renewal(sessionId, { deliveredThrough: 3 }));
    await room.ledger.settleDeliveries([1, 3].map((delivery) => ({ sessionId, delivery })));
    await renew(renewal(sessionId, { deliveredThrough: 2 }));

    const resumed = await resume(sessionId);
    expect(resumed).toMatchObject({ deliveries: [2], deliveredThrough: 3, lastDelivery: 3 });
  });

  it("that closed in good order is gone for everybody", async () => {
    const sessionId = await openSession(room);

    await room.ledger.closeSession({ sessionId, epoch: 2 });
    expect((await room.ledger.listSessions(1, lastUuid, 500)).map((s) => s.sessionId)).toContain(sessionId);
    await room.ledger.closeSession({ sessionId, epoch: 1 });

    expect((await room.ledger.listSessions(1, lastUuid, 500)).map((s) => s.sessionId)).not.toContain(
      sessionId,
    );
    expect(await renew(renewal(sessionId))).toEqual(["expired"]);
    expect(await room.ledger.expireSessions(100)).not.toContain(sessionId);
  });
});

describe("a session that is closed with a lease that its hub knows nothing of (D3)", () => {
  it("is left to the reaper, which finds the lease by its delivery; one that has none is closed", async () => {
    const [sessionId, idle] = [await openSession(room), await openSession(room)];
    const jobId = await submitOne(room);
    await claimOne(room.ledger, sessionId, jobId, 1);
    const reported = await claimOne(room.ledger, idle, await submitOne(room), 1);
    await room.ledger.report([reportItem(idle, reported, done)]);

    await room.ledger.closeSession({ sessionId, epoch: 1 });
    await room.ledger.closeSession({ sessionId: idle, epoch: 1 });

    expect(await renew(renewal(sessionId), renewal(idle))).toEqual(["expired", "expired"]);
    const expired = await room.ledger.readExpiredSessions(500, 10);
    const ofThese = expired.filter((session) => [sessionId, idle].includes(session.sessionId));
    const deliveries = [{ delivery: 1, jobIds: [jobId], isDelivered: false }];
    expect(ofThese).toEqual([{ sessionId, deliveries }]);
    const [back] = await room.ledger.returnLeases([
      { ...{ jobId, sessionId, fencingToken: null }, event: JobEventType.Expired, isStarted: false },
    ]);
    expect(back).toMatchObject({ type: "ready" });
    expect(await room.sql("select from delivery where session_id = $1", [idle])).toEqual([]);
  });
});

describe("a lease that goes back", () => {
  const giveBack = (
    jobId: string,
    sessionId: string,
    isStarted: boolean,
    fencingToken: bigint | null = null,
  ) =>
    room.ledger.returnLeases([{ jobId, sessionId, fencingToken, event: JobEventType.Released, isStarted }]);

  it("costs no attempt when no handler can have started, and one when it may have (D6)", async () => {
    const sessionId = await openSession(room);
    const jobId = await submitOne(room);

    await claimOne(room.ledger, sessionId, jobId, 1);
    expect(await giveBack(jobId, sessionId, false)).toMatchObject([
      { type: "ready", ref: { jobId, attempt: 0, laneId: room.lane.retryLaneId } },
    ]);
    await claimOne(room.ledger, sessionId, jobId, 2);
    expect(await giveBack(jobId, sessionId, true)).toMatchObject([{ type: "ready", ref: { attempt: 1 } }]);
    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Ready, session_id: null, token: 4 });
  });

  it("of the last attempt ends the job: its worker was lost (D8)", async () => {
    const sessionId = await openSession(room);
    const retry = { maxAttempts: 1, initialBackoffMs: 0, factor: 1, maxBackoffMs: 0 };
    const jobId = await submitOne(room, { retry, options: { retry } });
    await claimOne(room.ledger, sessionId, jobId, 1);

    expect(await giveBack(jobId, sessionId, true)).toEqual([{ type: "ended", state: JobState.Dead }]);

    expect(await room.ledger.readJob(1, jobId)).toMatchObject({
      state: JobState.Dead,
      outcome: { type: "failure", code: "WORKER_LOST" },
    });
  });

  it("is left alone under a foreign session or another token (D4)", async () => {
    const sessionId = await openSession(room);
    const jobId = await submitOne(room);
    await claimOne(room.ledger, sessionId, jobId, 1);

    expect(await giveBack(jobId, await openSession(room), false)).toEqual([{ type: "stale" }]);
    expect(await giveBack(jobId, sessionId, false, 7n)).toEqual([{ type: "stale" }]);
    expect(await giveBack(jobId, sessionId, false, 1n)).toMatchObject([{ type: "ready" }]);
    expect(await giveBack(jobId, sessionId, false, 1n)).toEqual([{ type: "stale" }]);
  });

  it("goes back although a stale return of the same job came in the same batch (D4)", async () => {
    const sessionId = await openSession(room);
    const rival = await openSession(room);
    const jobId = await submitOne(room);
    await claimOne(room.ledger, sessionId, jobId, 1);
    const item = { jobId, fencingToken: null, event: JobEventType.Expired, isStarted: false } as const;

    const results = await room.ledger.returnLeases([
      { ...item, sessionId: rival },
      { ...item, sessionId },
    ]);

    expect(results).toMatchObject([{ type: "stale" }, { type: "ready" }]);
  });
});

describe("the leases of a session that expired", () => {
  it("all go back, found by its deliveries, some at a time (D6)", async () => {
    const sessionId = await openSession(room);
    const ids = await submitMany(room, 2_000);
    const parts = Array.from({ length: 40 }, (_, at) => ids.slice(at * 50, (at + 1) * 50));
    const leases = (
      await Promise.all(parts.map((part, at) => claimAll(room.ledger, sessionId, part, at + 1)))
    ).flat();
    const reported = leases
      .slice(0, 100)
      .flatMap((lease) => (lease ? [reportItem(sessionId, lease, done)] : []));
    await room.ledger.report(reported);
    await renew(renewal(sessionId, { deliveredThrough: 20 }));
    await runOut(sessionId);
    await room.ledger.expireSessions(100);

    let looks = 0;
    for (;;) {
      const expired = await room.ledger.readExpiredSessions(100, 15);
      const mine = expired.find((session) => session.sessionId === sessionId);
      if (!mine || mine.deliveries.length === 0) break;
      looks += 1;
      await room.ledger.returnLeases(
        mine.deliveries.flatMap(({ jobIds, isDelivered }) =>
          jobIds.map((jobId) => ({
            jobId,
            sessionId,
            fencingToken: null,
            event: JobEventType.Expired,
            isStarted: isDelivered,
          })),
        ),
      );
      await room.ledger.dropDeliveries({
        sessionId,
        deliveries: mine.deliveries.map(({ delivery }) => delivery),
        isEmpty: false,
      });
    }

    expect(looks).toBe(3);
    const states = await room.sql(
      "select state, attempt, count(*)::integer as jobs from job where id = any($1) group by 1, 2 order by 1, 2",
      [ids],
    );
    // Delivered ones may have started and cost an attempt; the other half costs none.
    expect(states).toEqual([
      { state: JobState.Ready, attempt: 0, jobs: 1_000 },
      { state: JobState.Ready, attempt: 1, jobs: 900 },
      { state: JobState.Succeeded, attempt: 1, jobs: 100 },
    ]);
  });

  it("cost no attempt unless delivered, also of a job that the session got before (D6)", async () => {
    const sessionId = await openSession(room);
    const jobId = await submitOne(room);
    const first = await claimOne(room.ledger, sessionId, jobId, 1);
    const { fencingToken } = first;
    const release = { event: JobEventType.Released, isStarted: true } as const;
    await room.ledger.returnLeases([{ jobId, sessionId, fencingToken, ...release }]);
    await claimOne(room.ledger, sessionId, jobId, 2);
    await renew(renewal(sessionId, { deliveredThrough: 1 }));
    await runOut(sessionId);

    await reapOnce();

    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Ready, attempt: 1, token: 4 });
  });

  it("get no company: a claim that was on its way comes too late, and the session is closed", async () => {
    const sessionId = await openSession(room);
    const jobId = await submitOne(room);
    await runOut(sessionId);
    await room.ledger.expireSessions(100);

    await expect(claimAll(room.ledger, sessionId, [jobId])).rejects.toMatchObject({ reason: "SUPERSEDED" });

    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Ready, token: 0 });
    await room.ledger.dropDeliveries({ sessionId, deliveries: [], isEmpty: true });
    expect((await room.ledger.readExpiredSessions(500, 10)).map((s) => s.sessionId)).not.toContain(sessionId);
  });
});

describe("a session that was resumed at another hub (D6)", () => {
  let other: Awaited<ReturnType<typeof room.openLedger>>;
  beforeAll(async () => {
    other = await room.openLedger();
  });
  const resumeThere = (sessionId: string) =>
    other.resumeSession({ sessionId, tenantId: 1, keyId: "", subject: "", ttlMs: 30_000 });
  const undelivered = (
    sessionId: string,
    { jobId, fencingToken }: { jobId: string; fencingToken: bigint },
  ) => ({
    ...{ jobId, sessionId, fencingToken },
    ...{ event: JobEventType.Released, isStarted: false, mustHoldSession: true },
  });

  it("is claimed for by that hub only: what the former one asks for stays ready", async () => {
    const sessionId = await openSession(room);
    const jobId = await submitOne(room);
    await resumeThere(sessionId);

    await expect(claimAll(room.ledger, sessionId, [jobId], 7)).rejects.toMatchObject({
      reason: "SUPERSEDED",
    });

    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Ready, attempt: 0, token: 0 });
    expect(await claimOne(other, sessionId, jobId, 7)).toMatchObject({ jobId, attempt: 1 });
  });

  it("keeps what the former hub never heard to be delivered; that hub may not take it back", async () => {
    const sessionId = await openSession(room);
    const lease = await claimOne(room.ledger, sessionId, await submitOne(room));
    await resumeThere(sessionId);

    const returned = await room.ledger.returnLeases([undelivered(sessionId, lease)]);

    expect(returned).toEqual([{ type: "stale" }]);
    expect(await readRow(room, lease.jobId)).toMatchObject({ state: JobState.Leased, attempt: 1 });
    const back = await other.returnLeases([undelivered(sessionId, lease)]);
    expect(back).toMatchObject([{ type: "ready" }]);
    expect(await readRow(room, lease.jobId)).toMatchObject({ state: JobState.Ready, attempt: 0 });
  });

  it("is resumed with every lease that it has, or the claim came too late, however the two race", async () => {
    const outcomes = new Set<string>();
    for (let round = 0; round < 60; round++) {
      const sessionId = await openSession(room);
      const ids = await submitMany(room, 20);
      const claiming = claimAll(room.ledger, sessionId, ids).then(
        (leases) => leases.length,
        () => 0,
      );
      if (round % 3 === 0) await Promise.resolve();
      if (round % 3 === 1) await new Promise(setImmediate);
      const [claimed, resumed] = await Promise.all([claiming, resumeThere(sessionId)]);
      const known = resumed.type === "resumed" ? resumed.leases.length : -1;

      expect(known).toBe(claimed);
      const [row] = await room.sql<{ held: number }>(
        "select count(*)::integer as held from job where session_id = $1",
        [sessionId],
      );
      expect(row?.held).toBe(known);
      outcomes.add(claimed > 0 ? "claim first" : "resume first");
    }
    expect([...outcomes].sort()).toEqual(["claim first", "resume first"]);
  });
});
