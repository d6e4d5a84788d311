import { describe, expect, it } from "vitest";
import type { CheckpointItem } from "../../src/ledger/save-checkpoints.js";
import { done, openSession, reportItem, unrefused } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, claim, leased, takeBack } = await openLedgerDesk();

function at(jobId: string, sequence: number, overrides: Partial<CheckpointItem> = {}): CheckpointItem {
  const state = Buffer.from(`state ${sequence}`);
  return { jobId, sessionId, fencingToken: 1n, sequence: BigInt(sequence), state, ...overrides };
}

async function save(...items: CheckpointItem[]) {
  return unrefused(await room.ledger.saveCheckpoints(items));
}

async function leasedId(): Promise<string> {
  return (await leased()).jobId;
}

/** Takes the job back and grants it again: what the next attempt starts from. */
async function nextAttempt(jobId: string) {
  await takeBack(jobId);
  return claim(jobId);
}

describe("a checkpoint (D7)", () => {
  it("that was saved is what the next attempt starts from, and it costs that lease its bytes", async () => {
    const jobId = await leasedId();
    expect(await save(at(jobId, 1))).toEqual(["saved"]);
    expect(await save(at(jobId, 2))).toEqual(["saved"]);

    const returned = await takeBack(jobId);
    const lease = await claim(jobId);

    expect(returned).toMatchObject({ ref: { bytes: "hello".length + "state 2".length } });
    expect(lease.checkpoint).toEqual({ sequence: 2n, state: Buffer.from("state 2") });
  });

  it("may be empty and still counts", async () => {
    const jobId = await leasedId();
    await save(at(jobId, 1, { state: Buffer.alloc(0) }));

    expect((await nextAttempt(jobId)).checkpoint).toEqual({ sequence: 1n, state: Buffer.alloc(0) });
  });

  it("that comes again is a duplicate; one of a lower sequence is stale", async () => {
    const jobId = await leasedId();
    await save(at(jobId, 5));

    expect(await save(at(jobId, 5))).toEqual(["duplicate"]);
    expect(await save(at(jobId, 4))).toEqual(["stale"]);
    expect((await nextAttempt(jobId)).checkpoint?.sequence).toBe(5n);
  });

  it("under a foreign session, another token or after the lease ended is stale and changes nothing (D4)", async () => {
    const jobId = await leasedId();
    await save(at(jobId, 1));

    expect(await save(at(jobId, 2, { sessionId: await openSession(room) }))).toEqual(["stale"]);
    expect(await save(at(jobId, 2, { fencingToken: 2n }))).toEqual(["stale"]);
    const lease = await nextAttempt(jobId);
    expect(await save(at(jobId, 2))).toEqual(["stale"]);
    expect(lease.checkpoint?.sequence).toBe(1n);
    await room.ledger.report([reportItem(sessionId, lease, done)]);
    expect(await save(at(jobId, 3, { fencingToken: lease.fencingToken }))).toEqual(["stale"]);
  });

  it("of several in one batch: the newest is kept, and all before it have its answer", async () => {
    const jobId = await leasedId();
    const other = await leasedId();

    expect(await save(at(jobId, 1), at(other, 9), at(jobId, 3), at(jobId, 2))).toEqual([
      "saved",
      "saved",
      "saved",
      "saved",
    ]);
    expect(await save(at(jobId, 2), at(jobId, 3))).toEqual(["duplicate", "duplicate"]);
    expect((await nextAttempt(jobId)).checkpoint?.sequence).toBe(3n);
  });

  it("of the current lease is saved although a stale one with a higher sequence came in the same batch (D4)", async () => {
    const jobId = await leasedId();
    const lease = await nextAttempt(jobId);
    const current = at(jobId, 2, { fencingToken: lease.fencingToken });

    expect(await save(current, at(jobId, 9))).toEqual(["saved", "stale"]);
    expect(await save(at(jobId, 10), { ...current, sequence: 3n })).toEqual(["stale", "saved"]);
  });

  it("is gone once the job succeeded, with the space that it took", async () => {
    const jobId = await leasedId();
    await save(at(jobId, 1));
    const lease = await nextAttempt(jobId);

    await room.ledger.report([reportItem(sessionId, lease, done)]);

    expect(await room.sql("select 1 from checkpoint where job_id = $1", [jobId])).toEqual([]);
  });
});

describe("progress", () => {
  const progress = (jobId: string, percent: number, fencingToken = 1n) => ({
    jobId,
    sessionId,
    fencingToken,
    percent,
    message: `at ${percent}`,
  });

  it("is recorded under its token only, and is not a state change (D4, D20)", async () => {
    const jobId = await leasedId();

    expect(await room.ledger.recordProgress([progress(jobId, 40)])).toEqual([true]);
    expect(await room.ledger.recordProgress([progress(jobId, 90, 2n)])).toEqual([false]);

    expect(await room.ledger.readJob(1, jobId)).toMatchObject({
      progress: { percent: 40, message: "at 40" },
      revision: 2,
    });
  });

  it("of the current lease is recorded although a stale one came later in the same batch (D4)", async () => {
    const jobId = await leasedId();
    const { fencingToken } = await nextAttempt(jobId);

    const recorded = await room.ledger.recordProgress([
      progress(jobId, 10, fencingToken),
      progress(jobId, 90),
    ]);

    expect(recorded).toEqual([true, false]);
    expect((await room.ledger.readJob(1, jobId))?.progress).toMatchObject({ percent: 10 });
  });
});
