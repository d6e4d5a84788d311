import { describe, expect, it } from "vitest";
import type { JobSpec } from "../../src/domain/job-spec.js";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import {
  done,
  firstGateEpoch,
  openSession,
  readRow,
  reportItem,
  submitItem,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, nextDelivery, claim } = await openLedgerDesk();

/** A new job that the session is to have at once, in a delivery of its own unless one is given. */
function leasedItem(overrides: Partial<JobSpec> = {}, number = nextDelivery()) {
  return {
    ...submitItem(room, overrides),
    leaseTo: { sessionId, delivery: number, gateEpoch: firstGateEpoch },
  };
}

describe("a job that is leased as it is submitted", () => {
  it("is granted as a claim would have granted it, with both events in order (D4, D20, D21)", async () => {
    const item = leasedItem({ payload: Buffer.from("now"), contentType: "text/plain" });

    const [result] = unrefused(await room.ledger.submit([item]));

    expect(result).toMatchObject({ type: "accepted", ref: null, dueAtMs: null });
    const claimed = await claim(await submitOne(room, item.spec));
    const lease = result?.type === "accepted" ? result.lease : null;
    expect(lease).toEqual({ ...claimed, jobId: item.jobId, submittedAtMs: expect.any(Number) });
    expect(await readRow(room, item.jobId)).toMatchObject({
      state: JobState.Leased,
      attempt: 1,
      token: 1,
      revision: 2,
      session_id: sessionId,
    });
    expect(await room.ledger.readHistory(1, item.jobId, 0, 10)).toMatchObject([
      { type: JobEventType.Submitted, state: JobState.Ready, revision: 1, attempt: 0, fencingToken: 0n },
      {
        type: JobEventType.Leased,
        state: JobState.Leased,
        revision: 2,
        attempt: 1,
        fencingToken: 1n,
        sessionId,
      },
    ]);
    expect(await room.ledger.readHistory(1, item.jobId, 1, 10)).toMatchObject([{ revision: 2 }]);
    await expectBooksInOrder(room);
  });

  it("ends like any other, and its history reads on (D3, D20)", async () => {
    const item = leasedItem();
    const [result] = unrefused(await room.ledger.submit([item]));
    if (result?.type !== "accepted" || !result.lease) throw new Error("it was not leased");

    const [verdict] = unrefused(await room.ledger.report([reportItem(sessionId, result.lease, done)]));

    expect(verdict).toMatchObject({ type: "committed", state: JobState.Succeeded });
    const history = await room.ledger.readHistory(1, item.jobId, 0, 10);
    expect(history.map((event) => event.revision)).toEqual([1, 2, 3]);
    await expectBooksInOrder(room);
  });

  it("goes back without costing an attempt when it was never delivered (D6)", async () => {
    const item = leasedItem();
    unrefused(await room.ledger.submit([item]));

    const [returned] = unrefused(
      await room.ledger.returnLeases([
        { jobId: item.jobId, sessionId, fencingToken: 1n, isStarted: false, event: JobEventType.Released },
      ]),
    );

    expect(returned).toMatchObject({ type: "ready" });
    expect(await readRow(room, item.jobId)).toMatchObject({ state: JobState.Ready, attempt: 0, token: 2 });
  });

  it("is found by its delivery when its session is lost (D6)", async () => {
    const delivery = nextDelivery();
    const items = [leasedItem({}, delivery), leasedItem({}, delivery)];

    unrefused(await room.ledger.submit(items));

    const held = await room.ledger.readDelivery(sessionId, delivery);
    expect([...held].sort()).toEqual(items.map((item) => item.jobId).sort());
  });

  it("is the first one's again when the key was used, and nobody is given a lease (D2)", async () => {
    const first = submitItem(room, { idempotencyKey: "once" });
    unrefused(await room.ledger.submit([first]));

    const delivery = nextDelivery();
    const second = leasedItem({ idempotencyKey: "once" }, delivery);
    const [again] = unrefused(await room.ledger.submit([second]));

    expect(again).toEqual({ type: "existing", jobId: first.jobId });
    expect(await room.ledger.readDelivery(sessionId, delivery)).toEqual([]);
  });

  it("waits like any other when its session was resumed at another hub meanwhile (D6)", async () => {
    const other = await room.openLedger();
    const moved = await openSession(room);
    await other.resumeSession({ sessionId: moved, tenantId: 1, keyId: "", subject: "", ttlMs: 30_000 });
    const item = {
      ...submitItem(room),
      leaseTo: { sessionId: moved, delivery: 1, gateEpoch: firstGateEpoch },
    };

    const [result] = unrefused(await room.ledger.submit([item]));

    expect(result).toMatchObject({ type: "accepted", lease: null, ref: { jobId: item.jobId } });
    expect(await readRow(room, item.jobId)).toMatchObject({ state: JobState.Ready, token: 0, revision: 1 });
    expect(await room.ledger.readDelivery(moved, 1)).toEqual([]);
    await expectBooksInOrder(room);
  });

  it("stands beside others in one commit, that wait or are due later", async () => {
    const runAtMs = Date.now() + 3_600_000;
    const items = [submitItem(room), leasedItem(), submitItem(room, { runAtMs }), leasedItem()];

    const results = unrefused(await room.ledger.submit(items));

    expect(results.map((result) => result.type === "accepted" && [!!result.ref, !!result.lease])).toEqual([
      [true, false],
      [false, true],
      [false, false],
      [false, true],
    ]);
    await expectBooksInOrder(room);
  });
});
