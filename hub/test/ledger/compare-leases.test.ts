import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobEventType } from "../../src/domain/job-state.js";
import { claimOne, done, failed, openSession, reportItem, submitOne } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
let sessionId: string;
let delivery = 0;
beforeAll(async () => {
  room = await openLedgerRoom();
  sessionId = await openSession(room);
});
afterAll(() => room.close());

async function leased(overrides: Parameters<typeof submitOne>[1] = {}) {
  delivery += 1;
  return claimOne(room.ledger, sessionId, await submitOne(room, overrides), delivery);
}

const cancel = (jobId: string, graceMs: number) =>
  room.ledger.cancel({ jobId, tenantId: 1, reason: "asked", graceMs });

describe("leases compared with the ledger", () => {
  it("have not changed while they stand", async () => {
    expect(await room.ledger.compareLeases([await leased(), await leased()])).toEqual([]);
    expect(await room.ledger.compareLeases([])).toEqual([]);
  });

  it("have not changed when their own worker reported them, whatever follows", async () => {
    const [succeeded, retried] = [await leased(), await leased()];

    await room.ledger.report([
      reportItem(sessionId, succeeded, done),
      reportItem(sessionId, retried, failed),
    ]);

    expect(await room.ledger.compareLeases([succeeded, retried])).toEqual([]);
  });

  it("are being cancelled, with the grace that is left by the ledger's clock, and why", async () => {
    const { jobId, fencingToken } = await leased();
    await cancel(jobId, 60_000);

    const [change] = await room.ledger.compareLeases([{ jobId, fencingToken }]);

    expect(change).toMatchObject({ jobId, fencingToken, type: "cancelling", reason: "asked" });
    const { graceMs } = change as Extract<typeof change, { type: "cancelling" }>;
    expect(graceMs).toBeGreaterThan(50_000);
    expect(graceMs).toBeLessThanOrEqual(60_000);
  });

  it("are gone when the job was cancelled, missed its deadline, or went back (D4)", async () => {
    const cancelled = await leased();
    await cancel(cancelled.jobId, 0);
    const late = await leased({ deadlineMs: Date.now() + 20 });
    await expect.poll(async () => (await room.ledger.fireDeadlines(10)).endedJobIds).toEqual([late.jobId]);
    const returned = await leased();
    const { jobId, fencingToken } = returned;
    await room.ledger.returnLeases([
      { jobId, fencingToken, sessionId, event: JobEventType.Released, isStarted: true },
    ]);

    const changes = await room.ledger.compareLeases([cancelled, late, returned, await leased()]);

    expect(changes.map(({ jobId, type }) => [jobId, type]).sort()).toEqual(
      [
        [cancelled.jobId, "cancelled"],
        [late.jobId, "deadline"],
        [returned.jobId, "taken"],
      ].sort(),
    );
  });
});
