import { describe, expect, it } from "vitest";
import { EffectState } from "../../src/domain/effect.js";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
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
import { done, openSession, readRow, reportItem, unrefused } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room } = await openLedgerDesk();
let key = 0;

const freshKey = () => `key-${++key}`;
const free = () => holderOfScope(freshKey());
const read = ({ tenantId, name }: EffectItem) => room.ledger.readEffect(tenantId, name);

describe("a claim (D16)", () => {
  it("is granted once; whoever comes then is told who holds it and until when", async () => {
    const by = await holderOfJob(room);

    const first = await claimEffect(room.ledger, by);
    const second = await claimEffect(room.ledger, by);

    expect(first).toMatchObject({
      type: "acquired",
      effectToken: 1n,
      isTakenOver: false,
      timeLeftMs: 60_000,
    });
    expect(second).toMatchObject({ type: "held", holder: { subject: "", sessionId: by.lease?.sessionId } });
    expect(
      second.type === "held" && first.type === "acquired" && second.heldUntilMs === first.heldUntilMs,
    ).toBe(true);
  });

  it("repeated under its request id repeats the grant, in the same batch, later, and not for another subject", async () => {
    const by = free();
    const item = { ...by, requestId: "r", ttlMs: 60_000 };

    const both = unrefused(await room.ledger.claimEffects([item, { ...item }], patienceMs));

    expect(both).toMatchObject([
      { type: "acquired", effectToken: 1n },
      { type: "acquired", effectToken: 1n },
    ]);
    expect(await claimEffect(room.ledger, item)).toMatchObject({ type: "acquired", effectToken: 1n });
    expect(await claimEffect(room.ledger, { ...item, subject: "bob" })).toMatchObject({ type: "held" });
  });

  it("of a completed effect is given the stored result, byte for byte, for ever", async () => {
    const by = free();
    const result = Buffer.from([0, 255, 1]);
    const effectToken = await acquire(room.ledger, by);
    await room.ledger.completeEffects(
      [{ ...by, effectToken, result, contentType: "application/x-thing" }],
      patienceMs,
    );
    await runOut(room, by);

    for (const _ of [1, 2])
      expect(await claimEffect(room.ledger, by)).toMatchObject({
        type: "completed",
        result,
        contentType: "application/x-thing",
      });
  });

  it("of many in one batch has one winner for each effect, the first whose lease of the job stands (D4)", async () => {
    const by = await holderOfJob(room);
    const stale = { ...by, lease: { sessionId: by.lease?.sessionId ?? null, fencingToken: 99n } };

    const answers = unrefused(
      await room.ledger.claimEffects(
        [stale, by, by].map((one, at) => ({ ...one, requestId: `r${at}`, ttlMs: 60_000 })),
        patienceMs,
      ),
    );

    expect(answers.map(({ type }) => type)).toEqual(["stale", "acquired", "held"]);
  });

  it("is of its tenant, owner and key alone", async () => {
    const by = free();
    const other = { ...by, tenantId: 2 };
    await acquire(room.ledger, by);

    expect(await claimEffect(room.ledger, other)).toMatchObject({ type: "acquired", effectToken: 1n });
    expect(await claimEffect(room.ledger, holderOfScope(by.name.key, "till"))).toMatchObject({
      type: "acquired",
    });
    expect(await claimEffect(room.ledger, holderOfScope(`${by.name.key} `))).toMatchObject({
      type: "acquired",
    });
  });

  it("for a job is refused when the job is another tenant's, like one that is absent", async () => {
    const by = await holderOfJob(room);

    expect(await expectNoChange(room, () => claimEffect(room.ledger, { ...by, tenantId: 2 }))).toEqual({
      type: "no_job",
    });
  });

  it.each([
    [
      "an older token",
      (by: EffectItem) => ({ ...by, lease: { sessionId: by.lease?.sessionId ?? null, fencingToken: 0n } }),
    ],
    [
      "another session",
      async (by: EffectItem) => ({ ...by, lease: { sessionId: await openSession(room), fencingToken: 1n } }),
    ],
    ["another subject", (by: EffectItem) => ({ ...by, subject: "mallory" })],
    ["no lease at all", (by: EffectItem) => ({ ...by, lease: null })],
  ])("for a job under %s changes nothing and is stale (D4)", async (_, wrong) => {
    const by = await holderOfJob(room);
    const liar = await wrong(by);

    expect(await expectNoChange(room, () => claimEffect(room.ledger, liar))).toEqual({ type: "stale" });
  });

  it("for a job without naming the session is good for the subject that holds the lease", async () => {
    const by = await holderOfJob(room);
    const caller = { ...by, lease: { sessionId: null, fencingToken: by.lease?.fencingToken ?? 0n } };

    expect(await claimEffect(room.ledger, caller)).toMatchObject({ type: "acquired" });
  });
});

describe("a completion (D16)", () => {
  it("writes result, event and note of the job together, and the history stays linked (D20, D21)", async () => {
    const by = await holderOfJob(room, "charge");
    await completeEffect(room.ledger, by, await acquire(room.ledger, by));

    expect(await read(by)).toMatchObject({ state: EffectState.Completed, result: Buffer.from("sent") });
    const history = await room.ledger.readHistory(1, by.jobId, 0, 100);
    expect(history.map(({ type }) => type)).toEqual([
      JobEventType.Submitted,
      JobEventType.Leased,
      JobEventType.EffectCompleted,
    ]);
    expect(history.at(-1)).toMatchObject({ reason: "charge", state: JobState.Leased, revision: 3 });
    expect(await room.ledger.readNotes(1, by.jobId)).toMatchObject({
      notes: [{ number: 1n, name: "charge", bytes: 4 }],
      isTruncated: false,
    });
  });

  it("of several effects of one job at once gives each its event, and what comes after finds them all", async () => {
    const by = await holderOfJob(room);
    const items = await Promise.all(
      ["c", "a", "b"].map(async (one) => {
        const item = { ...by, name: { ...by.name, key: one } as typeof by.name };
        const effectToken = await acquire(room.ledger, item);
        return { ...item, effectToken, result: Buffer.from(one), contentType: "" };
      }),
    );

    unrefused(await room.ledger.completeEffects(items, patienceMs));
    const lease = await readRow(room, by.jobId);
    const sessionId = by.lease?.sessionId as string;
    const report = reportItem(
      sessionId,
      { jobId: by.jobId, fencingToken: 1n, attempt: 1, attemptsMax: 5, options: {} } as never,
      done,
    );
    unrefused(await room.ledger.report([report]));

    const history = await room.ledger.readHistory(1, by.jobId, 0, 100);
    expect(history.map(({ revision, reason }) => `${revision} ${reason}`)).toEqual([
      "1 ",
      "2 ",
      "3 a",
      "4 b",
      "5 c",
      "6 ",
    ]);
    expect(lease.revision).toBe(5);
  });

  it("that comes again is known; with another result, or another token, it is refused: completed is final", async () => {
    const by = free();
    const effectToken = await acquire(room.ledger, by);

    expect(await completeEffect(room.ledger, by, effectToken)).toEqual({
      type: "written",
      isExisting: false,
    });
    expect(await expectNoChange(room, () => completeEffect(room.ledger, by, effectToken))).toEqual({
      type: "written",
      isExisting: true,
    });
    for (const act of [
      () => completeEffect(room.ledger, by, effectToken, "sent twice"),
      () => completeEffect(room.ledger, by, effectToken + 1n),
      () => renewEffect(room.ledger, by, effectToken),
      () => releaseEffect(room.ledger, by, effectToken),
      () => abandonEffect(room.ledger, by, null),
    ])
      expect(await expectNoChange(room, act)).toEqual({ type: "completed" });
  });

  it("twice in one batch is written once: the same is known, another is refused", async () => {
    const by = free();
    const effectToken = await acquire(room.ledger, by);
    const item = { ...by, effectToken, result: Buffer.from("one"), contentType: "" };

    const items = [item, { ...item }, { ...item, result: Buffer.from("two") }];

    const answers = unrefused(await room.ledger.completeEffects(items, patienceMs));

    // Which of them the statement took is open; that it took one, and told the truth to the others, is not.
    const stored = Buffer.from((await read(by))?.result ?? []).toString();
    const told = items.map((item, at) => {
      const answer = answers[at];
      return { isStored: item.result.toString() === stored, isWritten: answer?.type === "written", answer };
    });
    expect(told.map(({ isWritten }) => isWritten)).toEqual(told.map(({ isStored }) => isStored));
    expect(answers.filter((answer) => answer.type === "written" && !answer.isExisting)).toHaveLength(1);
  });

  it("under a lease of the job that is gone is stale, even by the holder in time (D4)", async () => {
    const by = await holderOfJob(room);
    const effectToken = await acquire(room.ledger, by);
    await room.ledger.cancel({ jobId: by.jobId, tenantId: 1, reason: "", graceMs: 0 });

    for (const act of [
      () => completeEffect(room.ledger, by, effectToken),
      () => renewEffect(room.ledger, by, effectToken),
      () => releaseEffect(room.ledger, by, effectToken),
      () => abandonEffect(room.ledger, by, effectToken),
    ])
      expect(await expectNoChange(room, act)).toEqual({ type: "stale", of: "job" });
  });

  it("whose answer was lost is known, whatever became of the job since", async () => {
    const by = await holderOfJob(room);
    const effectToken = await acquire(room.ledger, by);
    await completeEffect(room.ledger, by, effectToken);
    await room.ledger.cancel({ jobId: by.jobId, tenantId: 1, reason: "", graceMs: 0 });

    expect(await completeEffect(room.ledger, by, effectToken)).toEqual({ type: "written", isExisting: true });
  });

  it.each([
    [
      "another subject",
      (by: EffectItem) => ({ ...by, subject: "mallory" }),
      0n,
      { type: "stale", of: "effect" },
    ],
    ["an older token", (by: EffectItem) => by, -1n, { type: "stale", of: "effect" }],
    ["a token to come", (by: EffectItem) => by, 1n, { type: "stale", of: "effect" }],
    ["another tenant", (by: EffectItem) => ({ ...by, tenantId: 2 }), 0n, { type: "absent" }],
  ] as const)("by %s changes nothing and says why", async (_, wrong, off, answer) => {
    const by = free();
    const liar = wrong(by);
    const token = (await acquire(room.ledger, by)) + off;

    for (const act of [
      () => completeEffect(room.ledger, liar, token),
      () => renewEffect(room.ledger, liar, token),
      () => releaseEffect(room.ledger, liar, token),
      () => abandonEffect(room.ledger, liar, token),
    ])
      expect(await expectNoChange(room, act)).toEqual(answer);
  });
});

describe("the notes of a job (D16)", () => {
  it("are the newest 256 of all that there were, marked when there were more", async () => {
    const by = await holderOfJob(room);
    const names = Array.from({ length: 300 }, (_, at) => `k${String(at).padStart(3, "0")}`);
    const named = names.map((one) => ({ ...by, name: { ...by.name, key: one } as typeof by.name }));
    await room.ledger.claimEffects(
      named.map((one) => ({ ...one, requestId: one.name.key, ttlMs: 60_000 })),
      patienceMs,
    );
    const items = named.map((one) => ({
      ...one,
      effectToken: 1n,
      result: Buffer.from("x"),
      contentType: "",
    }));
    for (const part of [items.slice(0, 200), items.slice(200)])
      for (const answer of unrefused(await room.ledger.completeEffects(part, patienceMs)))
        expect(answer).toEqual({ type: "written", isExisting: false });

    const { notes, isTruncated } = await room.ledger.readNotes(1, by.jobId);

    expect(isTruncated).toBe(true);
    expect(notes.map(({ name }) => name)).toEqual(names.slice(44));
    expect(notes.map(({ number }) => Number(number))).toEqual(names.map((_, at) => at + 1).slice(44));
    expect(await room.ledger.listEffects(1, by.name, "k298", 10)).toMatchObject([{ resultBytes: 1 }]);
    expect(await room.ledger.readNotes(2, by.jobId)).toEqual({ notes: [], isTruncated: false });
  });
});
