import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fault } from "../../src/domain/fault.js";
import { failJobs } from "../harness/failing-jobs.js";
import {
  claimAll,
  claimOne,
  done,
  openSession,
  reportItem,
  submitItem,
  submitMany,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

/** Each costs a reconnect with its pause. */
const killsMax = 12;

/** jsonb cannot hold U+0000; the edge refuses it, this comes from below. */
const poisoned = { options: { labels: { site: "nor\u0000th" } } };

async function existing(jobIds: readonly string[]): Promise<number> {
  const [row] = await room.sql<{ count: number }>(
    "select count(*)::integer as count from job where id = any($1)",
    [jobIds],
  );
  return row?.count ?? 0;
}

describe("a poisoned item", () => {
  it("alone rejects its own call, and the next call is served", async () => {
    await expect(room.ledger.submit([submitItem(room, poisoned)])).rejects.toMatchObject({
      reason: "ITEM_POISONED",
    });

    expect(await existing(await submitMany(room, 1))).toBe(1);
  });

  it.each([0, 149, 299])("at place %i of 300 is refused alone: all its neighbours commit", async (place) => {
    const items = Array.from({ length: 300 }, (_, at) => submitItem(room, at === place ? poisoned : {}));

    const results = await room.ledger.submit(items);

    expect(results.map((result) => result instanceof Fault)).toEqual(items.map((_, at) => at === place));
    expect(results[place]).toMatchObject({ reason: "ITEM_POISONED" });
    expect(await existing(items.map((item) => item.jobId))).toBe(299);
  });

  it("in another call does not fail the calls that share its transaction", async () => {
    const calls = Array.from({ length: 60 }, (_, at) => submitItem(room, at % 20 === 7 ? poisoned : {}));

    const results = await Promise.allSettled(calls.map((item) => room.ledger.submit([item])));

    expect(results.map((result) => result.status)).toEqual(
      calls.map((_, at) => (at % 20 === 7 ? "rejected" : "fulfilled")),
    );
  });

  it("that is not even an id is refused alone", async () => {
    const good = submitItem(room);

    const [bad, fine] = await room.ledger.submit([{ ...submitItem(room), jobId: "x','y" }, good]);

    expect(bad).toMatchObject({ reason: "ITEM_POISONED" });
    expect(fine).toMatchObject({ type: "accepted", jobId: good.jobId });
  });

  it("that ends a call of several batches does not reject it: the others were committed", async () => {
    const items = Array.from({ length: 501 }, (_, at) => submitItem(room, at === 500 ? poisoned : {}));

    const results = await room.ledger.submit(items);

    expect(results.slice(0, 500).filter((result) => result instanceof Fault)).toEqual([]);
    expect(results[500]).toMatchObject({ reason: "ITEM_POISONED" });
  });

  it("leaves no gap in the writer's pages (D20)", () => expectBooksInOrder(room));
});

describe("one call with many large items", () => {
  it("is spread over transactions of bounded size, and answered in order", async () => {
    const payload = Buffer.alloc(1 << 20, "x");
    const items = Array.from({ length: 20 }, () => submitItem(room, { payload }));

    const results = await room.ledger.submit(items);

    expect(results).toMatchObject(items.map(({ jobId }) => ({ type: "accepted", jobId })));
    const transactions = await room.sql<{ bytes: number }>(
      `select sum(length(payload))::integer as bytes from job where id = any($1)
       group by page_writer, page_batch`,
      [items.map((item) => item.jobId)],
    );
    expect(transactions.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(20 << 20);
    expect(Math.max(...transactions.map(({ bytes }) => bytes))).toBeLessThan(8 << 20);
  });
});

describe("the queue of writes", () => {
  it("commits together what comes one by one in the same turn of the event loop", async () => {
    const items = Array.from({ length: 5 }, () => submitItem(room));
    const calls: Promise<unknown>[] = [];
    for (const item of items) {
      calls.push(room.ledger.submit([item]));
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    await Promise.all(calls);

    const ids = items.map(({ jobId }) => jobId);
    expect(await room.sql("select distinct page_batch from job where id = any($1)", [ids])).toHaveLength(1);
  });

  it("refuses at once what does not fit, in items and in bytes, and serves what does", async () => {
    const small = await room.openLedger({ queuedItemsMax: 5, queuedBytesMax: 10_000 });
    const items = (count: number) => Array.from({ length: count }, () => submitItem(room));

    await expect(small.submit(items(6))).rejects.toMatchObject({ reason: "BACKLOG_FULL", retryAfterMs: 500 });
    await expect(small.submit([submitItem(room, { payload: Buffer.alloc(10_000) })])).rejects.toMatchObject({
      reason: "BACKLOG_FULL",
    });
    const [first, second] = await Promise.allSettled([small.submit(items(4)), small.submit(items(2))]);
    expect(first).toMatchObject({ status: "fulfilled" });
    expect(second).toMatchObject({ status: "rejected", reason: { reason: "BACKLOG_FULL" } });
    expect(small.queuedItems()).toBe(0);
    expect(await small.submit(items(5))).toHaveLength(5);
  });

  it("has room for sessions when submits have filled it, and a limit for them too (D5, D6)", async () => {
    const small = await room.openLedger({ queuedItemsMax: 8 });
    const sessionId = await openSession(room, 30_000, small);
    const leases = await claimAll(small, sessionId, await submitMany(room, 2, {}, small));
    const reports = leases.flatMap((lease) => (lease ? [reportItem(sessionId, lease, done)] : []));

    const filling = small.submit(Array.from({ length: 8 }, () => submitItem(room)));
    const reported = small.report(reports);
    const refused = [small.submit([submitItem(room)]), small.report(reports.slice(0, 1))];

    for (const call of refused) await expect(call).rejects.toMatchObject({ reason: "BACKLOG_FULL" });
    expect(await reported).toMatchObject([{ type: "committed" }, { type: "committed" }]);
    expect(await filling).toHaveLength(8);
  });

  it("is finished before the ledger stops, and closed after", async () => {
    const leaving = await room.openLedger();
    const items = Array.from({ length: 50 }, () => submitItem(room));
    const calls = items.map((item) => leaving.submit([item]));

    await leaving.stop();

    expect(await Promise.all(calls)).toHaveLength(50);
    expect(await existing(items.map((item) => item.jobId))).toBe(50);
    await expect(leaving.submit([submitItem(room)])).rejects.toMatchObject({ reason: "HUB_STOPPING" });
    const [writer] = await room.sql<{ ended: boolean }>(
      "select ended_at is not null as ended from writer where writer_id = $1",
      [leaving.writerId],
    );
    expect(writer).toEqual({ ended: true });
  });
});

describe("a lost writer connection", () => {
  it("in the middle of load loses nothing and repeats nothing (D1, D3, D20)", async () => {
    const sessionId = await openSession(room);
    let isLoading = true;
    let kills = 0;
    const killing = (async () => {
      while (isLoading && kills < killsMax) {
        const killed = await room.sql<{ pid: number }>(
          "select pg_terminate_backend(pid) as pid from pg_stat_activity where datname = current_database() and application_name = 'holdfast-writer'",
        );
        kills += killed.length;
        await new Promise((resolve) => setTimeout(resolve, 120));
      }
    })();
    const work = async (lane: number) => {
      const ended: string[] = [];
      for (let round = 0; round < 8; round += 1) {
        const ids = await submitMany(room, 60);
        const leases = await claimAll(room.ledger, sessionId, ids, lane * 100 + round);
        const reports = leases.flatMap((lease) => (lease ? [reportItem(sessionId, lease, done)] : []));
        const verdicts = unrefused(await room.ledger.report(reports));
        expect(leases).not.toContain(null);
        // DUPLICATE: an earlier try of this very batch had committed.
        expect(verdicts.every(({ type }) => type !== "stale")).toBe(true);
        ended.push(...ids);
      }
      return ended;
    };

    const ids = (await Promise.all([work(1), work(2), work(3)])).flat();
    isLoading = false;
    await killing;

    expect(kills).toBeGreaterThan(2);
    const states = await room.sql(
      "select state, attempt, revision, count(*)::integer as jobs from job where id = any($1) group by 1, 2, 3",
      [ids],
    );
    expect(states).toEqual([{ state: 6, attempt: 1, revision: 3, jobs: ids.length }]);
    await expectBooksInOrder(room);
  });
});

describe("a table that somebody else has locked", () => {
  it("poisons nothing: calls fail fast enough, and what workers report waits for it (D5)", async () => {
    const sessionId = await openSession(room);
    const [lease] = await claimAll(room.ledger, sessionId, await submitMany(room, 1), 1_000);
    if (!lease) throw new Error("the job was not granted");
    const holder = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-lock" });
    await holder.connect();
    await holder.query("begin; lock table holdfast.job in access exclusive mode");

    const report = room.ledger.report([reportItem(sessionId, lease, done)]);
    await expect(room.ledger.submit([submitItem(room)])).rejects.toMatchObject({
      reason: "LEDGER_UNAVAILABLE",
    });
    await holder.query("commit");
    await holder.end();

    expect(await report).toMatchObject([{ type: "committed" }]);
    await expectBooksInOrder(room);
  });
});

describe("a server that takes connections but fails on a statement", () => {
  it("does not keep a caller beyond its patience", async () => {
    await room.sql(`create function fail_disk() returns trigger language plpgsql as
      $$ begin raise exception 'no space left' using errcode = '53100'; end $$`);
    await room.sql(
      "create trigger disk_full before insert on idempotency for each row execute function fail_disk()",
    );
    try {
      await expect(room.ledger.submit([submitItem(room, { idempotencyKey: "full" })])).rejects.toMatchObject({
        reason: "LEDGER_UNAVAILABLE",
      });
    } finally {
      await room.sql("drop trigger disk_full on idempotency");
    }

    expect(await submitMany(room, 1)).toHaveLength(1);
    await expectBooksInOrder(room);
  });
});

describe("a server that does not do a statement just now", () => {
  it("is asked again for what a worker reports: no passing condition refuses a result (D5)", async () => {
    const sessionId = await openSession(room);
    const lease = await claimOne(room.ledger, sessionId, await submitOne(room));
    const conflicts = Array.from({ length: 5 }, () => "40001");
    const recover = await failJobs(room, "update", ["57014", "25006", ...conflicts, "XX000"]);

    const verdicts = await room.ledger.report([reportItem(sessionId, lease, done)]).finally(recover);

    expect(verdicts).toMatchObject([{ type: "committed" }]);
    await expectBooksInOrder(room);
  });

  it("for one item holds up no other: neighbours commit, and its call ends with its patience", async () => {
    const items = Array.from({ length: 30 }, (_, at) =>
      submitItem(room, at === 11 ? { contentType: "slow" } : {}),
    );
    await room.sql(`create function take_long() returns trigger language plpgsql as
      $$ begin raise 'it took too long' using errcode = '57014'; end $$`);
    await room.sql(`create trigger slow before insert on job for each row when (new.content_type = 'slow')
      execute function take_long()`);

    const results = await Promise.allSettled(items.map((item) => room.ledger.submit([item])));
    await room.sql("drop trigger slow on job");

    expect(results.map((result) => result.status)).toEqual(
      items.map((_, at) => (at === 11 ? "rejected" : "fulfilled")),
    );
    expect(results[11]).toMatchObject({ reason: { reason: "LEDGER_UNAVAILABLE" } });
    await expectBooksInOrder(room);
  });
});
