import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobState } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { Outcome } from "../../src/domain/outcome.js";
import { firstUuid } from "../../src/domain/uuid.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { ReplayItem } from "../../src/ledger/replay-jobs.js";
import { acquire, claimEffect, completeEffect } from "../harness/effect-acts.js";
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
import { dagStates, hard, replayItem, submitAfter, submitRun } from "../harness/run-acts.js";

const fatal: Outcome = { ...failed, permanent: true } as Outcome;

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

function claim(jobId: string): Promise<GrantedLease> {
  delivery += 1;
  return claimOne(room.ledger, sessionId, jobId, delivery);
}

async function finishAll(jobIds: readonly string[], outcome: Outcome = done): Promise<void> {
  for (let at = 0; at < jobIds.length; at += 500) {
    delivery += 1;
    const leases = await claimAll(room.ledger, sessionId, jobIds.slice(at, at + 500), delivery);
    const items = leases.map((lease) => {
      if (!lease) throw new Error("a job was not granted");
      return reportItem(sessionId, lease, outcome);
    });
    unrefused(await room.ledger.report(items));
  }
}

async function replayOf(jobId: string, more: Partial<ReplayItem> = {}, ledger: Ledger = room.ledger) {
  const result = await ledger.replay(await replayItem(ledger, jobId, more));
  if (result.type !== "accepted") throw new Error(`not accepted: ${result.type}`);
  return result;
}

describe("effects of a replayed job (D16)", () => {
  async function jobWithEffect() {
    const jobId = await submitOne(room);
    const lease = await claim(jobId);
    const by = {
      tenantId: 1,
      subject: "",
      name: { jobId, scope: null, key: "mail" },
      lease: { sessionId, fencingToken: lease.fencingToken },
    };
    await completeEffect(room.ledger, by, await acquire(room.ledger, by), "sent");
    unrefused(await room.ledger.report([reportItem(sessionId, lease, done)]));
    return jobId;
  }

  async function claimIn(replayId: string) {
    const lease = await claim(replayId);
    const by = {
      tenantId: 1,
      subject: "",
      name: { jobId: replayId, scope: null, key: "mail" },
      lease: { sessionId, fencingToken: lease.fencingToken },
    };
    return claimEffect(room.ledger, by);
  }

  it("are found completed, with what came of them, and are not done again", async () => {
    const { replayId } = await replayOf(await jobWithEffect());

    const claim = await claimIn(replayId);

    expect(claim).toMatchObject({ type: "completed" });
    expect(JSON.stringify(claim)).toContain(JSON.stringify(Buffer.from("sent")));
  });

  it("are done again where that was asked for", async () => {
    const { replayId } = await replayOf(await jobWithEffect(), { repeatsEffects: true });

    expect(await claimIn(replayId)).toMatchObject({ type: "acquired" });
  });
});

describe("a replay", () => {
  it("begins in the lane in which the job began, also when it ended as a retried one", async () => {
    const jobId = await submitOne(room);
    await finishAll([jobId], fatal);
    await room.ledger.revive({ jobId, ...operator("once more") });
    await finishAll([jobId]);
    expect((await readRow(room, jobId)).lane_id).not.toBe(room.lane.laneId);

    const { replayId } = await replayOf(jobId);

    expect((await readRow(room, replayId)).lane_id).toBe(room.lane.laneId);
    await finishAll([replayId]);
  });

  it("repeats followers too, and those behind soft dependencies", async () => {
    const first = await submitOne(room);
    const second = await submitAfter(room, (id) => [{ jobId: first, dependentId: id, isHard: false }]);
    const third = await submitAfter(room, (id) => [hard(second.jobId, id)]);
    for (const jobId of [first, second.jobId, third.jobId]) await finishAll([jobId]);

    const { replayId, refs } = await replayOf(first);

    expect(refs.map(({ jobId }) => jobId)).toEqual([replayId]);
    expect([...(await dagStates(room, replayId)).values()]).toEqual([
      JobState.Ready,
      JobState.Blocked,
      JobState.Blocked,
    ]);
    const { jobs } = await room.ledger.readReplayedJobs(replayId, firstUuid, 10);
    for (const { jobId } of jobs) await finishAll([jobId]);
    expect((await room.ledger.readReplay(1, replayId))?.pending).toBe(0);
  });

  it("is refused when the run grew since it was looked at, and nothing is written", async () => {
    const { runId, childIds } = await submitRun(room, 2);
    await finishAll([...childIds]);
    await finishAll([runId]);
    const item = await replayItem(room.ledger, runId);
    const late = await submitAfter(room, (id) => [hard(runId, id)]);
    await finishAll([late.jobId]);

    expect(await room.ledger.replay(item)).toEqual({ type: "changed" });
    expect(await room.sql("select from job where id = $1", [item.jobs[0]?.jobId])).toEqual([]);
  });

  it("asked for twice at two hubs at once is there once", async () => {
    const jobId = await submitOne(room);
    await finishAll([jobId]);
    const peer = await room.openLedger();
    const requestId = uuidv7();

    const results = await Promise.all(
      [room.ledger, peer, room.ledger, peer].map(async (ledger) =>
        ledger.replay(await replayItem(ledger, jobId, { requestId })),
      ),
    );
    await peer.stop();

    const ids = results.map((result) => ("replayId" in result ? result.replayId : ""));
    expect(new Set(ids).size).toBe(1);
    expect(results.filter(({ type }) => type === "accepted")).toHaveLength(1);
    await finishAll([ids[0] as string]);
  });
});
