import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { Outcome } from "../../src/domain/outcome.js";
import { failJobs } from "../harness/failing-jobs.js";
import { done, failed, operator, readRow, reportItem, submitOne, unrefused } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, claim, leased, takeBack } = await openLedgerDesk();

const cancel = (jobId: string, graceMs = 0, tenantId = 1) =>
  room.ledger.cancel({ jobId, tenantId, reason: "asked", graceMs });

const eventsOf = async (jobId: string) =>
  (await room.ledger.readHistory(1, jobId, 0, 50)).map((event) => event.type);

describe("a cancel", () => {
  it("ends a job that waits, once (D3)", async () => {
    const jobId = await submitOne(room);

    expect(await cancel(jobId)).toEqual({ type: "cancelled", lease: null, dueAtMs: null });
    expect(await cancel(jobId)).toEqual({ type: "already_cancelled" });
    expect(await room.ledger.readJob(1, jobId)).toMatchObject({
      state: JobState.Cancelled,
      outcome: { type: "cancelled", reason: "asked" },
    });
    expect(await eventsOf(jobId)).toEqual([JobEventType.Submitted, JobEventType.Cancelled]);
  });

  it("without grace takes a lease away at once: its report is stale (D4)", async () => {
    const lease = await leased();

    const cancelled = await cancel(lease.jobId);

    expect(cancelled).toEqual({
      type: "cancelled",
      lease: { sessionId, fencingToken: lease.fencingToken },
      dueAtMs: null,
    });
    expect(await room.ledger.report([reportItem(sessionId, lease, done)])).toEqual([{ type: "stale" }]);
  });

  it("with grace leaves the lease until the worker answers", async () => {
    const lease = await leased();

    const requested = await cancel(lease.jobId, 60_000);

    expect(requested).toMatchObject({
      type: "requested",
      lease: { sessionId, fencingToken: lease.fencingToken },
    });
    expect(await readRow(room, lease.jobId)).toMatchObject({ state: JobState.Leased, token: 1 });
    const answer: Outcome = { type: "cancelled", reason: "stopped" };
    expect(await room.ledger.report([reportItem(sessionId, lease, answer)])).toMatchObject([
      { type: "committed", state: JobState.Cancelled },
    ]);
    expect(await eventsOf(lease.jobId)).toEqual([
      JobEventType.Submitted,
      JobEventType.Leased,
      JobEventType.CancelRequested,
      JobEventType.Cancelled,
    ]);
  });

  it("with grace accepts a success that came first, and turns a retry into a cancel (D8)", async () => {
    const [one, two] = [await leased(), await leased()];
    await cancel(one.jobId, 60_000);
    await cancel(two.jobId, 60_000);

    const verdicts = await room.ledger.report([
      reportItem(sessionId, one, done),
      reportItem(sessionId, two, failed),
    ]);

    expect(verdicts).toMatchObject([{ state: JobState.Succeeded }, { state: JobState.Cancelled }]);
  });

  it("with grace takes the lease away when the grace is over (D4)", async () => {
    const lease = await leased();
    await cancel(lease.jobId, 1);

    const leases = await fired(() => room.ledger.fireCancelGraces(10));

    expect(leases).toEqual([{ jobId: lease.jobId, sessionId, fencingToken: lease.fencingToken }]);
    expect(await readRow(room, lease.jobId)).toMatchObject({ state: JobState.Cancelled, token: 2 });
    expect(await room.ledger.report([reportItem(sessionId, lease, done)])).toEqual([{ type: "stale" }]);
  });

  it("with grace is carried out when the lease goes back before the worker answers", async () => {
    const lease = await leased();
    await cancel(lease.jobId, 60_000);

    const returned = await takeBack(lease.jobId);

    expect(returned).toEqual({ type: "ended", state: JobState.Cancelled });
  });

  it("of an ended, foreign or unknown job changes nothing and says why", async () => {
    const lease = await leased();
    await room.ledger.report([reportItem(sessionId, lease, done)]);
    const mine = await submitOne(room);

    expect(await cancel(lease.jobId)).toEqual({ type: "terminal", state: JobState.Succeeded });
    expect(await cancel(mine, 0, 2)).toEqual({ type: "not_found" });
    expect(await cancel(uuidv7())).toEqual({ type: "not_found" });
    expect((await readRow(room, mine)).state).toBe(JobState.Ready);
  });

  it("is carried out although another tenant tried to cancel the same id in the same batch", async () => {
    const jobId = await submitOne(room);

    const [theirs, mine] = await Promise.all([cancel(jobId, 0, 2), cancel(jobId)]);

    expect(theirs).toEqual({ type: "not_found" });
    expect(mine).toMatchObject({ type: "cancelled" });
    expect((await readRow(room, jobId)).state).toBe(JobState.Cancelled);
  });
});

describe("a deadline that passes (D8)", () => {
  it("ends a waiting and a leased job, and takes the lease away", async () => {
    const waiting = await submitOne(room, { deadlineMs: Date.now() - 1 });
    const lease = await leased({ deadlineMs: Date.now() - 1 });

    const leases = await fired(() => room.ledger.fireDeadlines(10));

    expect(leases).toEqual([{ jobId: lease.jobId, sessionId, fencingToken: 1n }]);
    for (const jobId of [waiting, lease.jobId])
      expect(await room.ledger.readJob(1, jobId)).toMatchObject({
        state: JobState.Dead,
        outcome: { type: "failure", code: "DEADLINE_EXCEEDED", permanent: true },
      });
    expect(await room.ledger.report([reportItem(sessionId, lease, done)])).toEqual([{ type: "stale" }]);
  });

  it("leaves a job alone that had ended, and one whose deadline is still to come", async () => {
    const lease = await leased({ deadlineMs: Date.now() + 150 });
    await room.ledger.report([reportItem(sessionId, lease, done)]);
    const later = await submitOne(room, { deadlineMs: Date.now() + 60_000 });

    let taken = 0;
    await expect.poll(async () => (taken += (await room.ledger.fireDeadlines(10)).taken)).toBe(1);

    expect((await readRow(room, lease.jobId)).state).toBe(JobState.Succeeded);
    expect((await readRow(room, later)).state).toBe(JobState.Ready);
  });
});

describe("an operator's retry", () => {
  it("sends a dead letter back to ready with a higher token, fresh attempts and no passed deadline (D4)", async () => {
    const jobId = await submitOne(room, { deadlineMs: Date.now() - 1 });
    await fired(() => room.ledger.fireDeadlines(10));
    const before = await readRow(room, jobId);

    const revived = await room.ledger.revive({ jobId, ...operator("fixed") });

    expect(revived).toMatchObject({
      type: "revived",
      ref: { jobId, laneId: room.lane.retryLaneId, attempt: 0 },
    });
    expect(await readRow(room, jobId)).toMatchObject({
      state: JobState.Ready,
      attempt: 0,
      token: before.token + 1,
      revision: before.revision + 1,
    });
    expect(await room.ledger.readJob(1, jobId)).toMatchObject({ deadlineMs: null, finishedAtMs: null });
    const lease = await claim(jobId);
    expect(await room.ledger.report([reportItem(sessionId, lease, done)])).toMatchObject([
      { type: "committed" },
    ]);
  });

  it("of what is not dead changes nothing and says why", async () => {
    const jobId = await submitOne(room);

    expect(await room.ledger.revive({ jobId, ...operator() })).toEqual({
      type: "not_dead",
      state: JobState.Ready,
    });
    expect(await room.ledger.revive({ jobId, ...operator("", 2) })).toEqual({ type: "not_found" });
    expect(await room.ledger.revive({ jobId: uuidv7(), ...operator() })).toEqual({
      type: "not_found",
    });
  });

  it("that meets a conflict answers for what it revived, and for nothing that was open before", async () => {
    const lease = await leased();
    unrefused(
      await room.ledger.report([reportItem(sessionId, lease, { ...failed, permanent: true } as Outcome)]),
    );
    const open = await submitOne(room);
    const mended = await failJobs(room, "update", ["40001"]);

    const revived = await room.ledger.reviveAll(
      [lease.jobId, open].map((jobId) => ({ jobId, ...operator() })),
    );

    await mended();
    expect(revived).toMatchObject([{ type: "revived" }, { type: "not_dead", state: JobState.Ready }]);
  });

  it("is carried out although another tenant tried the same id in the same batch", async () => {
    const lease = await leased();
    unrefused(
      await room.ledger.report([reportItem(sessionId, lease, { ...failed, permanent: true } as Outcome)]),
    );
    const revive = (tenantId: number) =>
      room.ledger.revive({ jobId: lease.jobId, ...operator("", tenantId) });

    const [theirs, mine] = await Promise.all([revive(2), revive(1)]);

    expect(theirs).toEqual({ type: "not_found" });
    expect(mine).toMatchObject({ type: "revived" });
  });
});

/** Fires until something ended; answers the leases that it took away. */
async function fired(fire: () => Promise<{ endedJobIds: readonly string[]; leases: readonly unknown[] }>) {
  const leases: unknown[] = [];
  let ended = 0;
  await expect
    .poll(async () => {
      const done = await fire();
      leases.push(...done.leases);
      ended += done.endedJobIds.length;
      return ended;
    })
    .toBeGreaterThan(0);
  return leases;
}
