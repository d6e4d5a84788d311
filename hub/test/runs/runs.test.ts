import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { Outcome } from "../../src/domain/outcome.js";
import { childFailedCode, dependencyFailedCode, RunPolicy } from "../../src/domain/run.js";
import { jobSpec } from "../harness/job-spec.js";
import {
  claimAll,
  claimOne,
  done,
  failed,
  openSession,
  operator,
  readRow,
  reportItem,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import {
  addChildren,
  dagStates,
  hard,
  linkedJob,
  linkedSpec,
  replayItem,
  soft,
  submitAfter,
  submitRun,
} from "../harness/run-acts.js";

const fatal: Outcome = { ...failed, permanent: true } as Outcome;
const { Blocked, Scheduled, Ready, Leased, Succeeded, Dead, Cancelled } = JobState;

let room: LedgerRoom;
let sessionId: string;
let delivery = 0;
beforeAll(async () => {
  room = await openLedgerRoom();
  sessionId = await openSession(room, 600_000);
});
afterAll(async () => {
  await expectBooksInOrder(room);
  await room.close();
});

async function claim(jobId: string): Promise<GrantedLease> {
  delivery += 1;
  return claimOne(room.ledger, sessionId, jobId, delivery);
}

async function report(lease: GrantedLease, outcome: Outcome) {
  const [verdict] = unrefused(await room.ledger.report([reportItem(sessionId, lease, outcome)]));
  return verdict;
}

async function finish(jobId: string, outcome: Outcome = done): Promise<void> {
  expect(await report(await claim(jobId), outcome)).toMatchObject({ type: "committed" });
}

async function stateOf(jobId: string): Promise<number> {
  return (await readRow(room, jobId)).state;
}

async function outcomeOf(jobId: string) {
  return (await room.ledger.readJob(1, jobId))?.outcome;
}

describe("a job that depends on another", () => {
  it("is blocked, and released in the commit that ends the other", async () => {
    const first = await submitOne(room);

    const { jobId, result } = await submitAfter(room, (id) => [hard(first, id)]);

    expect(result).toMatchObject({ type: "accepted", refs: [] });
    expect(await stateOf(jobId)).toBe(Blocked);
    await finish(first);
    expect(await stateOf(jobId)).toBe(Ready);
    const history = await room.ledger.readHistory(1, jobId, 0, 10);
    expect(history.map(({ type }) => type)).toEqual([JobEventType.Submitted, JobEventType.Unblocked]);
  });

  it("is released also when the other was leased before anything depended on it (D3)", async () => {
    const first = await submitOne(room);
    const lease = await claim(first);
    const { jobId } = await submitAfter(room, (id) => [hard(first, id)]);

    const verdict = await report(lease, done);

    expect(verdict).toMatchObject({ type: "committed" });
    expect(await stateOf(jobId)).toBe(Ready);
    expect(await report(lease, done)).toMatchObject({ type: "duplicate" });
  });

  it("is released also when the other was ended by another hub at that very moment (D3)", async () => {
    const other = await room.openLedger();
    for (let round = 0; round < 25; round += 1) {
      const linked = linkedSpec(
        round % 2 === 0 ? {} : { compensation: { spec: jobSpec(), onRunFailure: false } },
      );
      const first = await submitAfter(room, () => [], linked);
      const lease = await claim(first.jobId);

      const [after] = await Promise.all([
        submitAfter(room, (id) => [hard(first.jobId, id)]),
        other.report([{ ...reportItem(sessionId, lease, done), isLinked: round % 3 === 0 }]),
      ]);

      expect(after.result.type).toBe("accepted");
      expect(await stateOf(after.jobId)).toBe(Ready);
    }
    await other.stop();
  });

  it("waits for its time when all it depends on has ended", async () => {
    const first = await submitOne(room);
    const runAtMs = Date.now() + 3_600_000;
    const { jobId } = await submitAfter(
      room,
      (id) => [hard(first, id)],
      linkedSpec({ spec: jobSpec({ runAtMs }) }),
    );

    await finish(first);

    expect(await stateOf(jobId)).toBe(Scheduled);
    expect(await room.sql("select purpose from timer where job_id = $1", [jobId])).toEqual([{ purpose: 1 }]);
  });

  it("and on all others that fail hard is dead unstarted, with all that wait for it", async () => {
    const first = await submitOne(room);
    const second = await submitAfter(room, (id) => [hard(first, id)]);
    const third = await submitAfter(room, (id) => [hard(second.jobId, id)]);
    const fourth = await submitAfter(room, (id) => [soft(third.jobId, id)]);

    await finish(first, fatal);

    expect(await stateOf(second.jobId)).toBe(Dead);
    expect(await outcomeOf(third.jobId)).toMatchObject({ type: "failure", code: dependencyFailedCode });
    expect(await stateOf(fourth.jobId)).toBe(Ready);
  });

  it("is not released by an attempt that is retried", async () => {
    const first = await submitOne(room);
    const { jobId } = await submitAfter(room, (id) => [hard(first, id)]);

    await finish(first, failed);

    expect(await stateOf(jobId)).toBe(Blocked);
  });

  it("of jobs that ended before is ready, or refused when they failed", async () => {
    const good = await submitOne(room);
    const bad = await submitOne(room);
    await finish(good);
    await finish(bad, fatal);

    const ready = await submitAfter(room, (id) => [hard(good, id), soft(bad, id)]);
    const refused = await submitAfter(room, (id) => [hard(bad, id)]);

    expect(ready.result).toMatchObject({ type: "accepted", refs: [{ jobId: ready.jobId }] });
    expect(refused.result).toEqual({ type: "dependency_failed", jobId: bad });
    expect(await room.ledger.readJob(1, refused.jobId)).toBeNull();
  });

  it("of jobs of two runs, or of nobody's, is refused, and nothing is written", async () => {
    const a = await submitOne(room);
    const b = await submitOne(room);
    await submitAfter(room, (id) => [hard(a, id)]);
    await submitAfter(room, (id) => [hard(b, id)]);

    const between = await submitAfter(room, (id) => [hard(a, id), hard(b, id)]);
    const astray = await submitAfter(room, (id) => [hard("01980000-0000-7000-8000-000000000000", id)]);

    expect(between.result).toMatchObject({ type: "dependency_elsewhere" });
    expect(astray.result).toMatchObject({ type: "dependency_not_found" });
    expect(
      await room.sql("select from run_node where job_id = any($1)", [[between.jobId, astray.jobId]]),
    ).toEqual([]);
  });

  it("fails when the other is cancelled, passes its deadline, or loses its last worker", async () => {
    const cancelled = await submitOne(room);
    const late = await submitOne(room, { deadlineMs: Date.now() - 1 });
    const lost = await submitOne(room, { retry: { ...jobSpec().retry, maxAttempts: 1 } });
    const [afterCancelled, afterLate, afterLost] = [
      await submitAfter(room, (id) => [hard(cancelled, id)]),
      await submitAfter(room, (id) => [hard(late, id)]),
      await submitAfter(room, (id) => [hard(lost, id)]),
    ];
    const lease = await claim(lost);

    await room.ledger.cancel({ jobId: cancelled, tenantId: 1, reason: "", graceMs: 0 });
    await room.ledger.fireDeadlines(100);
    await room.ledger.returnLeases([
      {
        jobId: lost,
        sessionId,
        fencingToken: lease.fencingToken,
        event: JobEventType.Expired,
        isStarted: true,
      },
    ]);

    for (const { jobId } of [afterCancelled, afterLate, afterLost])
      expect(await outcomeOf(jobId)).toMatchObject({ code: dependencyFailedCode });
  });
});

describe("a result that the ledger cannot hold", () => {
  it("is refused by itself, and its neighbours of other runs are committed", async () => {
    const [good, bad] = [await submitOne(room), await submitOne(room)];
    const after = await submitAfter(room, (id) => [hard(good, id)]);
    await submitAfter(room, (id) => [hard(bad, id)]);
    const [goodLease, badLease] = [await claim(good), await claim(bad)];
    const poison: Outcome = { ...failed, message: "\u0000" } as Outcome;
    const items = [reportItem(sessionId, badLease, poison), reportItem(sessionId, goodLease, done)];

    const verdicts = await room.ledger.report(items.map((item) => ({ ...item, isLinked: true })));

    expect(verdicts).toMatchObject([{ reason: "ITEM_POISONED" }, { type: "committed" }]);
    expect(await stateOf(after.jobId)).toBe(Ready);
    expect(await stateOf(bad)).toBe(Leased);
    await report(badLease, done);
  });
});

describe("a parent", () => {
  it("waits for its children and gets their outcomes in its lease", async () => {
    const { runId, childIds } = await submitRun(room, 3, [
      [0, 2],
      [1, 2, false],
    ]);
    expect([...(await dagStates(room, runId)).values()]).toEqual([Blocked, Ready, Ready, Blocked]);

    await finish(childIds[0] as string);
    await finish(childIds[1] as string);
    await finish(childIds[2] as string);

    const lease = await claim(runId);
    expect(lease.children).toMatchObject({ total: 3, nextAfterId: null });
    expect(lease.children?.children.map(({ jobId }) => jobId)).toEqual(childIds);
    expect(lease.children?.children[0]).toMatchObject({ state: Succeeded, outcome: done });
    expect(await report(lease, done)).toMatchObject({ type: "committed", state: Succeeded });
  });

  it("gets no more outcomes in its lease than are bounded, and pages through the rest", async () => {
    const { runId, childIds } = await submitRun(room, 3);
    const large: Outcome = { type: "success", result: Buffer.alloc(40_000, 7), contentType: "" };
    for (const id of childIds) await finish(id, large);

    const lease = await claim(runId);

    expect(lease.children?.children).toHaveLength(1);
    const afterId = lease.children?.nextAfterId as string;
    const rest = await room.ledger.readChildren(1, runId, { afterId, childrenMax: 10, bytesMax: 1 << 20 });
    expect(rest.children.map(({ jobId }) => jobId)).toEqual(childIds.slice(1));
    expect(rest.nextAfterId).toBeNull();
  });

  it("that fails fast cancels what has not started, asks the others to stop, and is dead when they have", async () => {
    const { runId, childIds } = await submitRun(room, 4, [[0, 3]]);
    const [bad, running, waiting, blocked] = childIds as [string, string, string, string];
    const lease = await claim(running);

    await finish(bad, fatal);

    const states = await dagStates(room, runId);
    expect([waiting, blocked, running, runId].map((id) => states.get(id))).toEqual([
      Cancelled,
      Cancelled,
      Leased,
      Blocked,
    ]);
    expect(await room.sql("select cancel_by > now() as asked from job where id = $1", [running])).toEqual([
      { asked: true },
    ]);
    expect(await report(lease, { type: "cancelled", reason: "asked" })).toMatchObject({ state: Cancelled });
    expect(await outcomeOf(runId)).toMatchObject({ code: childFailedCode });
  });

  it("that waits for all lets the others go on, and is dead at the end", async () => {
    const { runId, childIds } = await submitRun(room, 3, [[0, 1]], RunPolicy.WaitForAll);
    const [bad, doomed, good] = childIds as [string, string, string];

    await finish(bad, fatal);

    expect(await outcomeOf(doomed)).toMatchObject({ code: dependencyFailedCode });
    expect(await stateOf(runId)).toBe(Blocked);
    await finish(good);
    expect(await outcomeOf(runId)).toMatchObject({ code: childFailedCode });
  });

  it("that continues starts with what became of each", async () => {
    const { runId, childIds } = await submitRun(room, 2, [], RunPolicy.Continue);
    await finish(childIds[0] as string, fatal);
    await finish(childIds[1] as string);

    const lease = await claim(runId);

    expect(lease.children?.children.map(({ state }) => state)).toEqual([Dead, Succeeded]);
  });

  it("that is cancelled takes its children with it, and who waits for it", async () => {
    const { runId, childIds } = await submitRun(room, 2);
    const lease = await claim(childIds[0] as string);
    const after = await submitAfter(room, (id) => [hard(runId, id)]);

    await room.ledger.cancel({ jobId: runId, tenantId: 1, reason: "enough", graceMs: 0 });

    const states = await dagStates(room, runId);
    expect([runId, ...childIds, after.jobId].map((id) => states.get(id))).toEqual([
      Cancelled,
      Leased,
      Cancelled,
      Dead,
    ]);
    expect(await report(lease, done)).toMatchObject({ state: Succeeded });
    expect(await stateOf(runId)).toBe(Cancelled);
  });

  it("takes more children while it waits, and none afterwards", async () => {
    const { runId, childIds } = await submitRun(room, 1);
    const more = linkedJob(room);
    const outsider = await submitOne(room);

    expect(await addChildren(room, runId, [more], [hard(childIds[0] as string, more.jobId)])).toMatchObject({
      type: "accepted",
    });
    const stray = linkedJob(room);
    expect(await addChildren(room, runId, [stray], [hard(outsider, stray.jobId)])).toMatchObject({
      type: "dependency_elsewhere",
    });
    await finish(childIds[0] as string);
    expect(await stateOf(runId)).toBe(Blocked);
    await finish(more.jobId);
    expect(await stateOf(runId)).toBe(Ready);
    expect(await addChildren(room, runId, [linkedJob(room)])).toEqual({ type: "not_waiting" });
    expect(await addChildren(room, outsider, [linkedJob(room)])).toEqual({ type: "not_waiting" });
  });

  it("is there once however often its run is submitted with one key (D2)", async () => {
    const parent = linkedSpec({ spec: jobSpec({ idempotencyKey: "the-run" }) });
    const first = await submitRun(room, 2, [], RunPolicy.Continue, parent);

    const again = await submitRun(room, 2, [], RunPolicy.Continue, parent);
    const other = await submitRun(room, 3, [], RunPolicy.Continue, parent);

    expect(again.result).toEqual({ type: "existing", jobIds: [first.runId, ...first.childIds] });
    expect(other.result).toEqual({ type: "conflict", jobId: first.runId });
  });

  it("with a child whose key is taken is refused as a whole (D2)", async () => {
    const taken = await submitOne(room, { idempotencyKey: "taken" });
    const run = await submitRun(room, [
      linkedSpec(),
      linkedSpec({ spec: jobSpec({ idempotencyKey: "taken" }) }),
    ]);

    expect(run.result).toEqual({ type: "conflict", jobId: taken });
    expect(await room.ledger.readJob(1, run.runId)).toBeNull();
  });
});

describe("a dead letter that is sent back", () => {
  const revive = async (jobId: string) =>
    expect(await room.ledger.revive({ jobId, ...operator() })).toMatchObject({ type: "revived" });

  it("is waited for by what is submitted behind it, hard or soft, until it ends again (D3)", async () => {
    for (const outcome of [done, fatal]) {
      const first = await submitOne(room);
      const former = await submitAfter(room, (id) => [soft(first, id)]);
      await finish(first, fatal);
      await finish(former.jobId);
      await revive(first);
      const strict = await submitAfter(room, (id) => [hard(first, id)]);
      const lax = await submitAfter(room, (id) => [soft(first, id)]);
      expect([await stateOf(strict.jobId), await stateOf(lax.jobId)]).toEqual([Blocked, Blocked]);

      await finish(first, outcome);

      expect(await stateOf(strict.jobId)).toBe(outcome === done ? Ready : Dead);
      expect(await stateOf(lax.jobId)).toBe(Ready);
      expect(await stateOf(former.jobId)).toBe(Succeeded);
    }
  });

  it("that became part of a run after its death is waited for as well (D3)", async () => {
    const first = await submitOne(room);
    await finish(first, fatal);
    await submitAfter(room, (id) => [soft(first, id)]);
    await revive(first);
    const { jobId } = await submitAfter(room, (id) => [hard(first, id)]);

    await finish(first);

    expect(await stateOf(jobId)).toBe(Ready);
  });

  it("is waited for also when it was linked at that very moment (D3)", async () => {
    const other = await room.openLedger();
    for (let round = 0; round < 10; round += 1) {
      const first = await submitOne(room);
      await finish(first, fatal);

      const [lax] = await Promise.all([
        submitAfter(room, (id) => [soft(first, id)]),
        other.revive({ jobId: first, ...operator() }),
      ]);
      const strict = await submitAfter(room, (id) => [hard(first, id)]);
      await finish(first);

      expect([await stateOf(strict.jobId), await stateOf(lax.jobId)]).toEqual([Ready, Ready]);
    }
    await other.stop();
  });

  it("is waited for again by its parent, which starts when it and its later siblings have ended", async () => {
    for (const policy of [RunPolicy.Continue, RunPolicy.WaitForAll]) {
      const { runId, childIds } = await submitRun(room, 2, [], policy);
      const [bad, good] = childIds as [string, string];
      await finish(bad, fatal);
      await revive(bad);
      const sibling = linkedJob(room);
      expect(await addChildren(room, runId, [sibling], [hard(bad, sibling.jobId)])).toMatchObject({
        type: "accepted",
      });
      await finish(good);
      expect([await stateOf(sibling.jobId), await stateOf(runId)]).toEqual([Blocked, Blocked]);

      await finish(bad);
      await finish(sibling.jobId);

      const lease = await claim(runId);
      expect(lease.children).toMatchObject({ total: 3 });
      expect(await report(lease, done)).toMatchObject({ state: Succeeded });
      expect(await room.sql("select children_failed from run where run_id = $1", [runId])).toEqual([
        { children_failed: 0 },
      ]);
    }
  });

  it("runs on when what it had waited for fails after it was sent back", async () => {
    const first = await submitOne(room);
    const second = await submitAfter(
      room,
      (id) => [hard(first, id)],
      linkedSpec({ spec: jobSpec({ deadlineMs: Date.now() - 1 }) }),
    );
    await room.ledger.fireDeadlines(100);
    await revive(second.jobId);
    const third = await submitAfter(room, (id) => [hard(second.jobId, id)]);
    const lease = await claim(second.jobId);

    await finish(first, fatal);

    expect([await stateOf(second.jobId), await stateOf(third.jobId)]).toEqual([Leased, Blocked]);
    await report(lease, done);
    expect(await stateOf(third.jobId)).toBe(Ready);
  });

  it("is stopped with its run", async () => {
    const { runId, childIds } = await submitRun(room, 2, [], RunPolicy.Continue);
    await finish(childIds[0] as string, fatal);
    await revive(childIds[0] as string);

    await room.ledger.cancel({ jobId: runId, tenantId: 1, reason: "", graceMs: 0 });

    expect(await stateOf(childIds[0] as string)).toBe(Cancelled);
  });
});

describe("a compensation", () => {
  const undo = (onRunFailure: boolean) =>
    linkedSpec({ compensation: { spec: jobSpec({ payload: Buffer.from("undo") }), onRunFailure } });
  const madeFor = async (jobId: string) =>
    (
      await room.sql<{ id: string | null }>("select made_job_id as id from compensation where job_id = $1", [
        jobId,
      ])
    )[0]?.id ?? null;

  it("is submitted once, in the commit that makes its job dead (D8)", async () => {
    const { jobId } = await submitAfter(room, () => [], undo(false));

    await finish(jobId, fatal);

    const made = (await madeFor(jobId)) as string;
    expect(await room.ledger.readJob(1, made)).toMatchObject({ state: Ready, payload: Buffer.from("undo") });
    await room.ledger.revive({ jobId, ...operator() });
    await finish(jobId, fatal);
    expect(await madeFor(jobId)).toBe(made);
    await finish(made);
  });

  it("is not submitted for a job that never started, nor for one that succeeded alone", async () => {
    const first = await submitOne(room);
    const unstarted = await submitAfter(room, (id) => [hard(first, id)], undo(true));
    const good = await submitAfter(room, () => [], undo(true));

    await finish(first, fatal);
    await finish(good.jobId);

    expect(await stateOf(unstarted.jobId)).toBe(Dead);
    expect([await madeFor(unstarted.jobId), await madeFor(good.jobId)]).toEqual([null, null]);
  });

  it("undoes successes when the run fails, also those that come later", async () => {
    const { runId, childIds } = await submitRun(room, [undo(true), undo(false), undo(true), linkedSpec()]);
    const [undone, kept, late, bad] = childIds as [string, string, string, string];
    await finish(undone);
    await finish(kept);
    const lease = await claim(late);

    await finish(bad, fatal);
    await report(lease, done);

    expect(await stateOf(runId)).toBe(Dead);
    expect(await madeFor(undone)).not.toBeNull();
    expect(await madeFor(late)).not.toBeNull();
    expect(await madeFor(kept)).toBeNull();
  });

  it("undoes also what succeeded only after it was sent back", async () => {
    const { runId, childIds } = await submitRun(
      room,
      [linkedSpec(), undo(true)],
      [[0, 1]],
      RunPolicy.Continue,
    );
    const [bad, undone] = childIds as [string, string];
    await finish(bad, fatal);
    expect(await stateOf(undone)).toBe(Dead);
    await room.ledger.revive({ jobId: undone, ...operator() });
    await finish(undone);
    expect(await madeFor(undone)).toBeNull();

    await finish(runId, fatal);

    expect(await madeFor(undone)).not.toBeNull();
  });

  it("of a failed run waits for those of what succeeded later, whatever becomes of them (D8)", async () => {
    const children = [undo(true), undo(true), undo(true), linkedSpec()];
    const { runId, childIds } = await submitRun(room, children, [[0, 1]], RunPolicy.WaitForAll);
    const [first, second, third, bad] = childIds as [string, string, string, string];
    for (const jobId of [first, third, second]) await finish(jobId);
    await finish(bad, fatal);
    const [undoFirst, undoThird, undoSecond] = [
      (await madeFor(first)) as string,
      (await madeFor(third)) as string,
      (await madeFor(second)) as string,
    ];
    const states = () => Promise.all([undoSecond, undoThird, undoFirst].map(stateOf));

    expect(await states()).toEqual([Ready, Blocked, Blocked]);
    await finish(undoSecond);
    expect(await states()).toEqual([Succeeded, Ready, Blocked]);
    await finish(undoThird, fatal);
    expect(await states()).toEqual([Succeeded, Dead, Ready]);
    await finish(undoFirst);

    expect([...(await dagStates(room, runId)).keys()]).toEqual(
      expect.arrayContaining([runId, ...childIds, undoFirst, undoSecond, undoThird]),
    );
    expect((await room.ledger.readReplaySource(1, runId))?.jobs.map(({ jobId }) => jobId)).toEqual([
      runId,
      ...childIds,
    ]);
    const replay = await room.ledger.replay(await replayItem(room.ledger, runId));
    expect(replay).toMatchObject({ type: "accepted" });
  });

  it("of 3,000 in one run is one of a chain, which is made with a step each", async () => {
    const { runId, childIds } = await submitRun(
      room,
      Array.from({ length: 1_000 }, () => undo(true)),
    );
    for (let call = 1; call < 3; call += 1) {
      const more = Array.from({ length: 1_000 }, () => linkedJob(room, undo(true)));
      expect(await addChildren(room, runId, more)).toMatchObject({ type: "accepted" });
      childIds.push(...more.map(({ jobId }) => jobId));
    }
    for (let at = 0; at < childIds.length; at += 500) {
      delivery += 1;
      const leases = await claimAll(room.ledger, sessionId, childIds.slice(at, at + 500), delivery);
      await room.ledger.report(leases.map((lease) => reportItem(sessionId, lease as GrantedLease, done)));
    }
    await finish(runId, fatal);

    const made = await room.sql<{ state: number; count: number }>(
      `select j.state, count(*)::integer as count from compensation c join run_node n on n.job_id = c.job_id
       join job j on j.id = c.made_job_id where n.run_id = $1 group by j.state order by j.state`,
      [runId],
    );
    expect(made).toEqual([
      { state: Blocked, count: 2_999 },
      { state: Ready, count: 1 },
    ]);
  });
});

describe("a run of 10,000 children", () => {
  it("and a chain 1,000 deep are submitted, released and read without a step that grows with the run", async () => {
    const { runId, childIds } = await submitRun(room, 1_000);
    for (let call = 1; call < 10; call += 1) {
      const more = Array.from({ length: 1_000 }, () => linkedJob(room));
      expect(await addChildren(room, runId, more)).toMatchObject({ type: "accepted" });
      childIds.push(...more.map(({ jobId }) => jobId));
    }
    for (let at = 0; at < childIds.length; at += 500) {
      delivery += 1;
      const leases = await claimAll(room.ledger, sessionId, childIds.slice(at, at + 500), delivery);
      await room.ledger.report(leases.map((lease) => reportItem(sessionId, lease as GrantedLease, done)));
    }
    expect(await stateOf(runId)).toBe(Ready);
    expect((await dagStates(room, runId)).size).toBe(10_001);

    const chain = await submitRun(
      room,
      1_000,
      Array.from({ length: 999 }, (_, at) => [at, at + 1] as const),
      RunPolicy.WaitForAll,
    );
    await finish(chain.childIds[0] as string, fatal);
    expect(await outcomeOf(chain.childIds[999] as string)).toMatchObject({ code: dependencyFailedCode });
    expect(await stateOf(chain.runId)).toBe(Dead);
  });
});
