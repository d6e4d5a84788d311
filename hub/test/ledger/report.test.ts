import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { Outcome } from "../../src/domain/outcome.js";
import {
  done,
  failed,
  openSession,
  quickRetry,
  readRow,
  reportItem,
  submitItem,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, claim, leased, takeBack } = await openLedgerDesk();

const otherResult: Outcome = { type: "success", result: Buffer.from("other"), contentType: "text/plain" };
const stale = { type: "stale" };
const duplicate = { type: "duplicate" };

async function report(...items: ReturnType<typeof reportItem>[]) {
  return unrefused(await room.ledger.report(items));
}

describe("a report", () => {
  it("of a success ends the job with its result (D3)", async () => {
    const lease = await leased();

    const verdicts = await report(reportItem(sessionId, lease, done));

    expect(verdicts).toEqual([{ type: "committed", state: JobState.Succeeded, dueAtMs: null }]);
    expect(await room.ledger.readJob(1, lease.jobId)).toMatchObject({
      state: JobState.Succeeded,
      outcome: done,
      sessionId: null,
    });
    const history = await room.ledger.readHistory(1, lease.jobId, 0, 10);
    expect(history.map((event) => [event.revision, event.type])).toEqual([
      [1, JobEventType.Submitted],
      [2, JobEventType.Leased],
      [3, JobEventType.Succeeded],
    ]);
    expect(history.at(-1)?.sessionId).toBe(sessionId);
  });

  it.each([
    ["a success", done, 6],
    ["a permanent failure", { ...failed, permanent: true } as Outcome, 7],
    ["an acknowledged cancel", { type: "cancelled", reason: "asked" } as Outcome, 8],
  ])(
    "of %s that comes again is a duplicate, and other outcomes under its token are stale (D5)",
    async (_, outcome, state) => {
      const lease = await leased();
      await report(reportItem(sessionId, lease, outcome));
      const before = await readRow(room, lease.jobId);

      expect(before.state).toBe(state);
      expect(await report(reportItem(sessionId, lease, outcome))).toEqual([duplicate]);
      expect(await report(reportItem(sessionId, lease, otherResult))).toEqual([stale]);
      expect(await readRow(room, lease.jobId)).toEqual(before);
    },
  );

  it("repeated in one batch is committed once (D5)", async () => {
    const lease = await leased();
    const item = reportItem(sessionId, lease, done);

    const verdicts = await report(item, { ...item }, reportItem(sessionId, lease, otherResult));

    expect(verdicts.map(({ type }) => type)).toEqual(["committed", "duplicate", "stale"]);
  });

  it("under a foreign session, a wrong token or an unknown job is stale and changes nothing (D4)", async () => {
    const lease = await leased();
    const before = await readRow(room, lease.jobId);
    const good = reportItem(sessionId, lease, done);

    expect(await report({ ...good, sessionId: await openSession(room) })).toEqual([stale]);
    expect(await report({ ...good, fencingToken: 0n })).toEqual([stale]);
    expect(await report({ ...good, fencingToken: 2n })).toEqual([stale]);
    expect(await report({ ...good, jobId: uuidv7() })).toEqual([stale]);
    expect(await readRow(room, lease.jobId)).toEqual(before);
  });

  it("of an attempt that was taken away is stale, whoever has the job now (D4)", async () => {
    const first = await leased();
    await takeBack(first.jobId);

    expect(await report(reportItem(sessionId, first, done))).toEqual([stale]);
    const second = await claim(first.jobId);
    expect(await report(reportItem(sessionId, first, done))).toEqual([stale]);
    expect(await report(reportItem(sessionId, second, otherResult))).toMatchObject([{ type: "committed" }]);
    expect((await room.ledger.readJob(1, first.jobId))?.outcome).toEqual(otherResult);
  });

  it("that is current is committed although a stale one of the same job came in the same batch (D4, D5)", async () => {
    const first = await leased();
    await takeBack(first.jobId);
    const second = await claim(first.jobId);

    const verdicts = await report(
      reportItem(sessionId, first, otherResult),
      reportItem(sessionId, second, done),
    );

    expect(verdicts.map(({ type }) => type)).toEqual(["stale", "committed"]);
  });
});

describe("a failure that may be retried (D8)", () => {
  it("is scheduled with a timer, becomes ready in the retry lane, and is granted again", async () => {
    const lease = await leased({ retry: quickRetry, options: { retry: quickRetry } });

    const [verdict] = await report(reportItem(sessionId, lease, failed));

    expect(verdict).toMatchObject({ type: "committed", state: JobState.Scheduled });
    const timers = "select purpose, guard::integer as guard from timer where job_id = $1";
    expect(await room.sql(timers, [lease.jobId])).toEqual([{ purpose: 1, guard: 3 }]);
    const fired = await room.ledger.fireReadyTimers(100);
    expect(fired.refs).toMatchObject([{ jobId: lease.jobId, laneId: room.lane.retryLaneId, attempt: 1 }]);
    expect(await room.sql(timers, [lease.jobId])).toEqual([]);
    const again = await claim(lease.jobId);
    expect(again).toMatchObject({ attempt: 2, fencingToken: 2n });
    expect(await report(reportItem(sessionId, lease, failed))).toEqual([duplicate]);
  });

  it("is not ready before its backoff has passed", async () => {
    const lease = await leased();
    await report(reportItem(sessionId, lease, { ...failed, retryAfterMs: 60_000 } as Outcome));

    const fired = await room.ledger.fireReadyTimers(100);

    expect(fired.refs.map((ref) => ref.jobId)).not.toContain(lease.jobId);
    const due = (await room.ledger.readJob(1, lease.jobId))?.runAtMs as number;
    expect(due).toBeGreaterThan(Date.now() + 55_000);
  });

  it("of the last attempt ends the job, even when the hub proposes one retry too many", async () => {
    const retry = { ...quickRetry, maxAttempts: 2 };
    const first = await leased({ retry, options: { retry } });
    await report(reportItem(sessionId, first, failed));
    await room.ledger.fireReadyTimers(100);
    const second = await claim(first.jobId);
    const proposal = { ...reportItem(sessionId, first, failed), fencingToken: second.fencingToken };
    expect(proposal.decision.state).toBe(JobState.Scheduled);

    const [verdict] = await report(proposal);

    expect(verdict).toEqual({ type: "committed", state: JobState.Dead, dueAtMs: null });
    expect(await readRow(room, first.jobId)).toMatchObject({ state: JobState.Dead, attempt: 2 });
    expect(await room.sql("select 1 from timer where job_id = $1", [first.jobId])).toEqual([]);
    expect((await room.ledger.readHistory(1, first.jobId, 0, 20)).at(-1)).toMatchObject({
      type: JobEventType.Dead,
      state: JobState.Dead,
    });
  });

  it("that is permanent ends the job at once, with its outcome kept", async () => {
    const lease = await leased();
    const permanent: Outcome = { ...failed, permanent: true } as Outcome;

    await report(reportItem(sessionId, lease, permanent));

    expect(await room.ledger.readJob(1, lease.jobId)).toMatchObject({
      state: JobState.Dead,
      outcome: permanent,
    });
    expect((await room.ledger.readHistory(1, lease.jobId, 2, 1))[0]?.reason).toBe("BOOM: it broke");
  });
});

describe("due timers", () => {
  it("make jobs ready in the order in which they fell due, then of their ids", async () => {
    await room.ledger.fireReadyTimers(1_000);
    const dueAtMs = Date.now() + 200;
    const items = [30, 20, 20, 0, 10].map((laterMs) => submitItem(room, { runAtMs: dueAtMs + laterMs }));
    const [last, third, fourth, first, second] = items.map((item) => item.jobId);
    await room.ledger.submit(items);
    await expect
      .poll(async () => (await room.sql("select 1 from timer where purpose = 1 and due_at <= now()")).length)
      .toBe(5);

    const early = await room.ledger.fireReadyTimers(2);
    const rest = await room.ledger.fireReadyTimers(100);

    expect(early.refs.map((ref) => ref.jobId)).toEqual([first, second]);
    expect(rest.refs.map((ref) => ref.jobId)).toEqual([third, fourth, last]);
    const keys = [...early.refs, ...rest.refs].map((ref) => ref.readyKey);
    expect(keys).toEqual([...keys].sort((a, b) => a - b));
  });

  it("are fired no more at once than asked for, each once, also by two hubs", async () => {
    await room.ledger.fireReadyTimers(1_000);
    const ids = await Promise.all(
      Array.from({ length: 60 }, () => submitOne(room, { runAtMs: Date.now() + 300 })),
    );
    await expect
      .poll(async () => (await room.sql("select 1 from timer where purpose = 1 and due_at <= now()")).length)
      .toBe(60);
    const other = await room.openLedger();

    const few = await room.ledger.fireReadyTimers(7);
    expect(few.taken).toBe(7);
    expect(few.refs).toHaveLength(7);
    const rest = await Promise.all([room.ledger, other].map((ledger) => ledger.fireReadyTimers(100)));

    const fired = [few, ...rest].flatMap(({ refs }) => refs);
    expect(fired.map((ref) => ref.jobId).sort()).toEqual([...ids].sort());
    expect(new Set(fired.map((ref) => ref.laneId))).toEqual(new Set([room.lane.laneId]));
  });
});
