import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import { firstUuid, lastUuid } from "../../src/domain/uuid.js";
import type { EmbeddedPostgres } from "../../src/ledger/embedded-postgres.js";
import { runRetention } from "../../src/ledger/retention.js";
import {
  abandonEffect,
  acquire,
  claimEffect,
  completeEffect,
  holderOfJob,
  renewEffect,
} from "../harness/effect-acts.js";
import {
  claimAll,
  claimOne,
  done,
  failed,
  openSession,
  operator,
  quickRetry,
  readRow,
  reportItem,
  submitItem,
  submitMany,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { startPostgres15 } from "../harness/postgres.js";

let server: EmbeddedPostgres;
let room: LedgerRoom;
let sessionId: string;
beforeAll(async () => {
  server = await startPostgres15();
  room = await openLedgerRoom(server.url);
  sessionId = await openSession(room);
});
afterAll(async () => {
  await room.close();
  await server.stop();
});

describe("on PostgreSQL 15, the oldest version supported,", () => {
  it("a job lives its whole life: submit, claim, checkpoint, failure, retry, success (D3, D7, D8)", async () => {
    expect((await room.ledger.readFacts()).postgresVersion).toMatch(/^15\./);
    const jobId = await submitOne(room, {
      retry: quickRetry,
      options: { retry: quickRetry },
      idempotencyKey: "one",
    });
    const first = await claimOne(room.ledger, sessionId, jobId, 1);
    const { fencingToken } = first;
    const state = Buffer.from("half");
    await room.ledger.saveCheckpoints([{ jobId, sessionId, fencingToken, sequence: 1n, state }]);
    await room.ledger.recordProgress([{ jobId, sessionId, fencingToken, percent: 50, message: "half" }]);
    await room.ledger.report([reportItem(sessionId, first, failed)]);
    await room.ledger.fireReadyTimers(10);
    const second = await claimOne(room.ledger, sessionId, jobId, 2);

    expect(second.checkpoint).toEqual({ sequence: 1n, state });
    expect(await room.ledger.report([reportItem(sessionId, second, done)])).toMatchObject([
      { type: "committed" },
    ]);
    expect(await room.ledger.report([reportItem(sessionId, second, done)])).toEqual([{ type: "duplicate" }]);
    expect(
      await room.ledger.submit([
        submitItem(room, { idempotencyKey: "one", retry: quickRetry, options: { retry: quickRetry } }),
      ]),
    ).toEqual([{ type: "existing", jobId }]);
    expect((await room.ledger.readHistory(1, jobId, 0, 20)).map((event) => event.type)).toEqual([
      JobEventType.Submitted,
      JobEventType.Leased,
      JobEventType.RetryScheduled,
      JobEventType.Ready,
      JobEventType.Leased,
      JobEventType.Succeeded,
    ]);
  });

  it("cancels, deadlines and dead letters work (D8)", async () => {
    const waiting = await submitOne(room);
    await room.ledger.cancel({ jobId: waiting, tenantId: 1, reason: "", graceMs: 0 });
    const graceful = await claimOne(room.ledger, sessionId, await submitOne(room), 3);
    await room.ledger.cancel({ jobId: graceful.jobId, tenantId: 1, reason: "", graceMs: 1 });
    const late = await submitOne(room, { deadlineMs: Date.now() - 1 });
    await expect.poll(async () => (await room.ledger.fireCancelGraces(10)).leases.length).toBe(1);
    await room.ledger.fireDeadlines(10);

    expect(
      await Promise.all([waiting, graceful.jobId, late].map(async (id) => (await readRow(room, id)).state)),
    ).toEqual([JobState.Cancelled, JobState.Cancelled, JobState.Dead]);
    expect(await room.ledger.revive({ jobId: late, ...operator() })).toMatchObject({
      type: "revived",
    });
  });

  it("an expired session gives its leases back (D6)", async () => {
    const lost = await openSession(room, 1);
    const ids = await submitMany(room, 50);
    await claimAll(room.ledger, lost, ids, 1);
    await expect.poll(() => room.ledger.expireSessions(10)).toContain(lost);

    const [expired] = await room.ledger.readExpiredSessions(10, 10);
    const returned = await room.ledger.returnLeases(
      (expired?.deliveries ?? []).flatMap(({ jobIds }) =>
        jobIds.map((jobId) => ({
          jobId,
          sessionId: lost,
          fencingToken: null,
          event: JobEventType.Expired,
          isStarted: false,
        })),
      ),
    );

    expect(unrefused(returned).filter((result) => result.type === "ready")).toHaveLength(50);
    expect(
      await room.ledger.resumeSession({ sessionId: lost, tenantId: 1, keyId: "", subject: "", ttlMs: 1_000 }),
    ).toEqual({
      type: "expired",
    });
  });

  it("effects are claimed, renewed, given back and completed (D16)", async () => {
    const by = await holderOfJob(room);
    const first = await acquire(room.ledger, by);
    expect(await renewEffect(room.ledger, by, first)).toMatchObject({ type: "renewed" });
    expect(await abandonEffect(room.ledger, by, first)).toMatchObject({ type: "written" });
    const second = await acquire(room.ledger, by);
    expect(await completeEffect(room.ledger, by, second)).toMatchObject({ type: "written" });
    expect(await claimEffect(room.ledger, by)).toMatchObject({ type: "completed" });
    expect((await room.ledger.readNotes(1, by.jobId)).notes).toHaveLength(2);
  });

  it("readers and retention work", async () => {
    const all = { states: [], kind: "", queue: "", product: "", labels: {}, submittedAfterMs: 0 };

    expect((await room.ledger.listJobs(1, all, lastUuid, 500)).jobs.length).toBeGreaterThan(50);
    expect((await room.ledger.readStragglers(firstUuid, 1_000)).nextJobId).toBeNull();
    expect((await room.ledger.listSessions(1, lastUuid, 10)).map((s) => s.sessionId)).toContain(sessionId);
    expect(
      await runRetention({ databaseUrl: room.url, keepDays: 1, dryRun: true, dropUnforwarded: false }),
    ).toEqual({
      dropped: [],
      kept: [],
      unforwarded: [],
    });
  });

  it("the books are in order (D20, D21)", () => expectBooksInOrder(room));
});
