import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import {
  claimAll,
  claimOne,
  openSession,
  readRow,
  submitMany,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, takeBack } = await openLedgerDesk();

describe("a claim", () => {
  it("grants a ready job with all that its worker needs, and a token of 1", async () => {
    const jobId = await submitOne(room, {
      options: { labels: { site: "north" } },
      contentType: "text/plain",
    });

    const lease = await claimOne(room.ledger, sessionId, jobId, 7);

    expect(lease).toMatchObject({
      jobId,
      fencingToken: 1n,
      attempt: 1,
      attemptsMax: 5,
      payload: Buffer.from("hello"),
      contentType: "text/plain",
      checkpoint: null,
      options: { labels: { site: "north" } },
    });
    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Leased, session_id: sessionId });
    expect(await room.ledger.readDelivery(sessionId, 7)).toEqual([jobId]);
  });

  it("of the same 1,000 refs by two hubs at once grants each job once (D4, D10)", async () => {
    const ids = await submitMany(room, 1_000);
    const other = await room.openLedger();
    const rival = await openSession(room, 30_000, other);

    const [mine, theirs] = await Promise.all([
      Promise.all(chunks(ids, 50).map((part) => claimAll(room.ledger, sessionId, part, 20))),
      Promise.all(chunks([...ids].reverse(), 50).map((part) => claimAll(other, rival, part, 20))),
    ]);

    const granted = [...mine.flat(), ...theirs.flat()].filter((lease) => lease !== null);
    expect(granted.map((lease) => lease.jobId).sort()).toEqual([...ids].sort());
    expect(new Set(granted.map((lease) => lease.fencingToken))).toEqual(new Set([1n]));
    const holders = await room.sql<{ session_id: string; jobs: number }>(
      "select session_id, count(*)::integer as jobs from job where id = any($1) group by 1",
      [ids],
    );
    const count = (leases: readonly unknown[]) => leases.filter((lease) => lease !== null).length;
    expect(new Map(holders.map((row) => [row.session_id, row.jobs]))).toEqual(
      new Map(
        [[sessionId, count(mine.flat())] as const, [rival, count(theirs.flat())] as const].filter(
          ([, jobs]) => jobs > 0,
        ),
      ),
    );
  });

  it("is answered though the read of its checkpoints failed after its grants were committed (D6)", async () => {
    const ids = await submitMany(room, 2);
    for (const lease of await claimAll(room.ledger, sessionId, ids, 25)) {
      const item = { ...(lease as GrantedLease), sessionId };
      await room.ledger.saveCheckpoints([{ ...item, sequence: 1n, state: Buffer.from("half") }]);
      await takeBack(item.jobId);
    }
    await room.sql(`
      create sequence checkpoint_reads;
      create function may_read() returns boolean language plpgsql as $$ begin
        if nextval('holdfast.checkpoint_reads') = 1 then raise 'it took too long' using errcode = '57014'; end if;
        return true;
      end $$;
      alter table checkpoint rename to checkpoint_kept;
      create view checkpoint as select * from checkpoint_kept where may_read()`);

    const leases = await claimAll(room.ledger, sessionId, ids, 26);
    await room.sql("drop view checkpoint; alter table checkpoint_kept rename to checkpoint");

    expect(leases).toMatchObject(ids.map((jobId) => ({ jobId, checkpoint: { sequence: 1n } })));
    const tokens = await Promise.all(ids.map(async (id) => (await readRow(room, id)).token));
    expect(leases.map((lease) => Number(lease?.fencingToken))).toEqual(tokens);
  });

  it("twice in one batch grants once (D10)", async () => {
    const jobId = await submitOne(room);

    const leases = await claimAll(room.ledger, sessionId, [jobId, jobId], 30);

    expect(leases.map((lease) => lease?.jobId ?? null)).toEqual([jobId, null]);
    expect((await readRow(room, jobId)).token).toBe(1);
  });

  it("that the queue has no room for says so only where none of it was tried", async () => {
    const small = await room.openLedger({ queuedItemsMax: 3 });
    const own = await openSession(room, 30_000, small);
    const ids = await submitMany(room, 4);
    const itemOf = (jobId: string) => ({ jobId, sessionId: own, delivery: 1, gateEpoch: 1 });

    await expect(small.claim(ids.map(itemOf))).rejects.toMatchObject({ reason: "BACKLOG_FULL" });
    const half = ids.map((jobId, at) => ({ ...itemOf(jobId), meterIds: at < 2 ? [] : [1] }));
    await expect(small.claim(half)).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });

    await expect.poll(async () => (await readRow(room, ids[1] as string)).state).toBe(JobState.Leased);
    expect(await readRow(room, ids[2] as string)).toMatchObject({ state: JobState.Ready });
  });

  it("of a job that is leased, scheduled, ended or unknown grants nothing and changes nothing (D10)", async () => {
    const leased = await submitOne(room);
    await claimOne(room.ledger, sessionId, leased, 31);
    const scheduled = await submitOne(room, { runAtMs: Date.now() + 60_000 });
    const cancelled = await submitOne(room);
    await room.ledger.cancel({ jobId: cancelled, tenantId: 1, reason: "", graceMs: 0 });
    const before = await Promise.all([leased, scheduled, cancelled].map((id) => readRow(room, id)));

    const leases = await claimAll(room.ledger, sessionId, [leased, scheduled, cancelled, uuidv7()], 32);

    expect(leases).toEqual([null, null, null, null]);
    expect(await Promise.all([leased, scheduled, cancelled].map((id) => readRow(room, id)))).toEqual(before);
    expect(await room.ledger.readDelivery(sessionId, 32)).toEqual([]);
  });
});

describe("the fencing token (D4)", () => {
  it("rises with every grant and with every action that takes the job away", async () => {
    const jobId = await submitOne(room);
    const tokens: number[] = [];
    const note = async () => tokens.push((await readRow(room, jobId)).token);
    const giveBack = async (isStarted: boolean) =>
      unrefused(
        await room.ledger.returnLeases([
          { jobId, sessionId, fencingToken: null, event: JobEventType.Released, isStarted },
        ]),
      );

    await note();
    await claimOne(room.ledger, sessionId, jobId, 40);
    await note();
    await giveBack(false);
    await note();
    await claimOne(room.ledger, sessionId, jobId, 41);
    await note();
    await giveBack(true);
    await note();
    await claimOne(room.ledger, sessionId, jobId, 42);
    await note();
    await room.ledger.cancel({ jobId, tenantId: 1, reason: "", graceMs: 0 });
    await note();

    expect(tokens).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});

function chunks<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) =>
    items.slice(at * size, (at + 1) * size),
  );
}
