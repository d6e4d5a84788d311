import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import { submitItem, submitMany, submitOne, unrefused } from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

interface Answer {
  readonly type: string;
  readonly jobId: string;
}

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

describe("a submit", () => {
  it("that was answered is in the ledger, with its event and all that was asked for (D1, D20)", async () => {
    const runAtMs = Date.now() + 3_600_000;
    const options = { labels: { site: "north" }, finishAndReport: { limitMs: 5 } };
    const item = submitItem(room, {
      payload: Buffer.from([0, 255, 7]),
      contentType: "application/x-part",
      runAtMs,
      deadlineMs: runAtMs + 1_000,
      options,
    });

    const [result] = unrefused(await room.ledger.submit([item]));

    expect(result).toMatchObject({ type: "accepted", jobId: item.jobId, ref: null });
    expect(await room.ledger.readJob(1, item.jobId)).toMatchObject({
      state: JobState.Scheduled,
      kind: "greet",
      attempt: 0,
      attemptsMax: 5,
      fencingToken: 0n,
      runAtMs,
      deadlineMs: runAtMs + 1_000,
      payload: Buffer.from([0, 255, 7]),
      contentType: "application/x-part",
      options,
    });
    const history = await room.ledger.readHistory(1, item.jobId, 0, 10);
    expect(history).toMatchObject([{ type: JobEventType.Submitted, state: JobState.Scheduled, revision: 1 }]);
    expect(
      await room.sql("select purpose from timer where job_id = $1 order by purpose", [item.jobId]),
    ).toEqual([{ purpose: 1 }, { purpose: 2 }]);
  });

  it("waits for the disk also where the database is set not to (D1)", async () => {
    await room.sql(
      "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
    );

    const careful = await room.openLedger();

    expect(await careful.readFacts()).toMatchObject({ synchronousCommit: "on" });
  });

  it("of many jobs gives each its place in the lane, in order, and keeps their payloads apart", async () => {
    const lane = await room.makeLane({ queue: "ordered" });
    const items = Array.from({ length: 1_200 }, (_, at) => ({
      ...submitItem(room, { payload: Buffer.from(at % 3 === 0 ? "" : `payload ${at}`) }),
      laneId: lane.laneId,
    }));

    const results = unrefused(await room.ledger.submit(items));

    const page = await room.ledger.readLanePage(lane.laneId, 0, 2_000);
    expect(page.map((ref) => ref.jobId)).toEqual(items.map((item) => item.jobId));
    expect(page.map(({ readyAtMs: _, ...ref }) => ref)).toEqual(
      results.map((result) => {
        if (result.type !== "accepted" || !result.ref) throw new Error("not ready");
        const { readyAtMs: _, ...ref } = result.ref;
        return ref;
      }),
    );
    for (const at of [0, 1, 599, 1_199])
      expect((await room.ledger.readJob(1, items[at]?.jobId as string))?.payload).toEqual(
        items[at]?.spec.payload,
      );
  });

  it("in the past of its time to run is ready at once", async () => {
    const [result] = unrefused(
      await room.ledger.submit([submitItem(room, { runAtMs: Date.now() - 60_000 })]),
    );

    expect(result).toMatchObject({ type: "accepted", dueAtMs: null, ref: { attempt: 0 } });
  });

  it("of another tenant looks as if it were absent", async () => {
    const jobId = await submitOne(room);

    expect(await room.ledger.readJob(2, jobId)).toBeNull();
    expect(await room.ledger.readHistory(2, jobId, 0, 10)).toEqual([]);
    expect(await room.ledger.readJob(1, "not an id")).toBeNull();
  });
});

describe("submitting again with the same idempotency key (D2)", () => {
  it("returns the first job for the same content, and a conflict that names it for other content", async () => {
    const first = submitItem(room, { idempotencyKey: "order-1" });
    await room.ledger.submit([first]);

    const [again] = await room.ledger.submit([submitItem(room, { idempotencyKey: "order-1" })]);
    const other = submitItem(room, { idempotencyKey: "order-1", payload: Buffer.from("other") });
    const [conflict] = await room.ledger.submit([other]);

    expect(again).toEqual({ type: "existing", jobId: first.jobId });
    expect(conflict).toEqual({ type: "conflict", jobId: first.jobId });
    expect(await room.ledger.readJob(1, other.jobId)).toBeNull();
  });

  it("many times in one batch makes one job", async () => {
    const contents = ["a", "a", "b", "a", "b", "c"];
    const items = contents.map((text) =>
      submitItem(room, { idempotencyKey: "batch-1", payload: Buffer.from(text) }),
    );
    const plain = submitItem(room);

    const results = unrefused(await room.ledger.submit([...items, plain]));

    const jobId = items[0]?.jobId as string;
    expect(results.map((result) => result.type)).toEqual([
      "accepted",
      "existing",
      "conflict",
      "existing",
      "conflict",
      "conflict",
      "accepted",
    ]);
    expect(new Set(results.slice(0, -1).map((result) => result.jobId))).toEqual(new Set([jobId]));
  });

  it("belongs to a tenant: another one's same key is another job", async () => {
    const [tenant] = await room.sql<{ id: number }>(
      "insert into tenant (name) values ('other') returning tenant_id as id",
    );
    const mine = submitItem(room, { idempotencyKey: "shared" });
    const theirs = { ...submitItem(room, { idempotencyKey: "shared" }), tenantId: tenant?.id as number };

    const results = unrefused(await room.ledger.submit([mine, theirs]));

    expect(results.map((result) => result.type)).toEqual(["accepted", "accepted"]);
  });

  it("from two hubs at once has one winner and no third outcome", async () => {
    const other = await room.openLedger();
    const keys = Array.from({ length: 400 }, (_, at) => `race-${at}`);
    const from = (text: string, keys: readonly string[]) =>
      keys.map((idempotencyKey) => submitItem(room, { idempotencyKey, payload: Buffer.from(text) }));
    // The first half carries the same content on both hubs, the second half other content.
    const one = [...from("same", keys.slice(0, 200)), ...from("one", keys.slice(200))];
    const two = [...from("two", keys.slice(200)).reverse(), ...from("same", keys.slice(0, 200)).reverse()];
    const inParts = (ledger: typeof other, items: typeof one) =>
      Promise.all(items.map((item) => ledger.submit([item]))).then((results) => unrefused(results.flat()));

    const [ones, twos] = await Promise.all([inParts(room.ledger, one), inParts(other, two)]);

    const answers = new Map<string, Answer[]>(keys.map((key) => [key, []]));
    for (const [items, results] of [[one, ones] as const, [two, twos] as const])
      for (const [at, result] of results.entries())
        answers.get(items[at]?.spec.idempotencyKey as string)?.push(result);
    for (const [at, key] of keys.entries()) {
      const [first, second] = answers.get(key) as [Answer, Answer];
      expect([first.type, second.type].sort()).toEqual(["accepted", at < 200 ? "existing" : "conflict"]);
      expect(first.jobId).toBe(second.jobId);
    }
    const [{ jobs } = { jobs: 0 }] = await room.sql<{ jobs: number }>(
      "select count(*)::integer as jobs from job where id in (select job_id from idempotency where key like 'race-%')",
    );
    expect(jobs).toBe(400);
  });
});

describe("the books", () => {
  it("hold one event per job and pages without a gap (D20, D21)", async () => {
    await Promise.all([submitMany(room, 30), submitMany(room, 30)]);
    await expectBooksInOrder(room);
  });
});
