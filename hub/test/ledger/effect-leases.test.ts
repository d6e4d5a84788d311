import { describe, expect, it } from "vitest";
import { EffectState } from "../../src/domain/effect.js";
import { JobEventType } from "../../src/domain/job-state.js";
import type { EffectItem } from "../../src/ledger/effect-items.js";
import {
  abandonEffect,
  acquire,
  claimEffect,
  completeEffect,
  expectNoChange,
  holderOfJob,
  holderOfScope,
  patienceMs,
  releaseEffect,
  renewEffect,
  runOut,
} from "../harness/effect-acts.js";
import { claimOne, openSession, unrefused } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room } = await openLedgerDesk();
let key = 0;

const free = () => holderOfScope(`key-${++key}`);
const read = ({ tenantId, name }: EffectItem) => room.ledger.readEffect(tenantId, name);

describe("the lease of an effect (D17)", () => {
  it("that ran out is taken over, with a mark; the former holder's writes are refused", async () => {
    const by = free();
    const former = await acquire(room.ledger, by);
    await runOut(room, by);

    const over = await claimEffect(room.ledger, by);

    expect(over).toMatchObject({ type: "acquired", effectToken: former + 1n, isTakenOver: true });
    for (const act of [
      () => completeEffect(room.ledger, by, former),
      () => renewEffect(room.ledger, by, former),
      () => releaseEffect(room.ledger, by, former),
    ])
      expect(await expectNoChange(room, act)).toEqual({ type: "stale", of: "effect" });
    expect(await completeEffect(room.ledger, by, former + 1n, "by the second")).toMatchObject({
      type: "written",
    });
  });

  it("outlives the lease of its job: the next attempt waits for it, then takes it over", async () => {
    const by = await holderOfJob(room);
    await acquire(room.ledger, by);
    const sessionId = by.lease?.sessionId as string;
    await room.ledger.returnLeases([
      { jobId: by.jobId, sessionId, fencingToken: null, event: JobEventType.Expired, isStarted: true },
    ]);
    const other = await openSession(room);
    const { fencingToken } = await claimOne(room.ledger, other, by.jobId);
    const next = { ...by, lease: { sessionId: other, fencingToken } };

    expect(await claimEffect(room.ledger, next)).toMatchObject({ type: "held", holder: { sessionId } });
    await runOut(room, by);
    expect(await claimEffect(room.ledger, next)).toMatchObject({ type: "acquired", isTakenOver: true });
  });

  it("that ran out and was not taken over may still be renewed and completed: the holder did it", async () => {
    const by = free();
    const effectToken = await acquire(room.ledger, by);
    await runOut(room, by);

    expect(await renewEffect(room.ledger, by, effectToken)).toMatchObject({
      type: "renewed",
      timeLeftMs: 60_000,
    });
    expect(await claimEffect(room.ledger, by)).toMatchObject({ type: "held" });
    await runOut(room, by);
    expect(await completeEffect(room.ledger, by, effectToken)).toEqual({
      type: "written",
      isExisting: false,
    });
  });

  it("that was released may be claimed at once, without a mark; releasing again changes nothing", async () => {
    const by = free();
    const effectToken = await acquire(room.ledger, by);

    expect(await releaseEffect(room.ledger, by, effectToken)).toEqual({ type: "written", isExisting: false });
    expect(await expectNoChange(room, () => releaseEffect(room.ledger, by, effectToken))).toEqual({
      type: "written",
      isExisting: true,
    });
    expect(await completeEffect(room.ledger, by, effectToken)).toEqual({ type: "stale", of: "effect" });
    expect(await claimEffect(room.ledger, by)).toMatchObject({
      effectToken: effectToken + 1n,
      isTakenOver: false,
    });
  });

  it("that an operator takes away is open at once, with reason and note; the holder's writes are refused", async () => {
    const by = await holderOfJob(room);
    const operator = { ...by, subject: "operator", lease: null };
    const effectToken = await acquire(room.ledger, by);

    expect(await abandonEffect(room.ledger, operator, null)).toEqual({ type: "written", isExisting: false });

    expect(await completeEffect(room.ledger, by, effectToken)).toEqual({ type: "stale", of: "effect" });
    expect(await claimEffect(room.ledger, by)).toMatchObject({ type: "acquired", effectToken: 2n });
    expect(await read(by)).toMatchObject({
      state: EffectState.Held,
      abandonment: { by: "operator", reason: "the till is on fire" },
    });
    expect((await room.ledger.readNotes(1, by.jobId)).notes).toMatchObject([{ type: 2, name: "mail" }]);
  });

  it("is renewed by both of two renewals in one batch", async () => {
    const by = free();
    const effectToken = await acquire(room.ledger, by);
    const item = { ...by, effectToken, ttlMs: 90_000 };

    const answers = unrefused(await room.ledger.renewEffects([item, { ...item }], patienceMs));

    expect(answers.map(({ type }) => type)).toEqual(["renewed", "renewed"]);
  });
});
