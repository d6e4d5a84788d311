import { describe, expect, it } from "vitest";
import { GateType } from "../../src/domain/gate.js";
import { JobState } from "../../src/domain/job-state.js";
import { lastUuid } from "../../src/domain/uuid.js";
import { readRow, submitItem, submitOne, unrefused } from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, nextDelivery } = await openLedgerDesk();
const { ledger } = room;
const operator = { tenantId: 1, subject: "ops", reason: "too many mails", ticket: "OPS-7" };
const queue = { type: "queue", product: "default", queue: "mail" } as const;
const pause = (note: string) => ({ type: GateType.Pause, settings: { note } }) as const;

function claim(jobId: string, gateEpoch: number) {
  return ledger.claim([{ jobId, sessionId, delivery: nextDelivery(), gateEpoch }]);
}

describe("a gate", () => {
  it("that was changed stops every claim of a hub that has not seen the change (D23)", async () => {
    const jobId = await submitOne(room);
    const { epoch: known } = await ledger.readGateEpoch();
    await ledger.setGate(operator, "pause.set", queue, pause("too many mails"));

    expect(await claim(jobId, known)).toEqual(["gates_changed"]);
    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Ready, token: 0, revision: 1 });

    const [lease] = await claim(jobId, known + 1);
    expect(lease).toMatchObject({ jobId, fencingToken: 1n });
    await expectBooksInOrder(room);
  });

  it("that was changed lets a new job wait that would have been leased as it was submitted", async () => {
    const { epoch: gateEpoch } = await ledger.readGateEpoch();
    await ledger.setGate(operator, "pause.set", queue, pause("still too many"));
    const item = { ...submitItem(room), leaseTo: { sessionId, delivery: nextDelivery(), gateEpoch } };

    const [result] = unrefused(await ledger.submit([item]));

    expect(result).toMatchObject({ type: "accepted", lease: null, ref: { jobId: item.jobId } });
    await expectBooksInOrder(room);
  });

  it("is known with its settings, and its changes with who made them and why", async () => {
    const target = { type: "product", product: "shop" } as const;
    const { epoch: before } = await ledger.readGateEpoch();
    const gate = await ledger.setGate(operator, "pause.set", target, pause("one"));
    const again = await ledger.setGate(operator, "pause.set", target, pause("two"));

    expect(again).toMatchObject({
      gateId: gate.gateId,
      target,
      type: GateType.Pause,
      settings: { note: "two" },
    });
    const { epoch, gates } = await ledger.readGates();
    expect(epoch).toBe(before + 2);
    expect(gates.filter(({ gateId }) => gateId === gate.gateId)).toEqual([again]);

    expect(await ledger.removeGate(operator, "pause.remove", target, GateType.Pause)).toBe(true);
    expect(await ledger.removeGate(operator, "pause.remove", target, GateType.Pause)).toBe(false);
    const kept = await ledger.listOperations(1, "product:shop", lastUuid, 10);
    expect(kept.map(({ action, before, after }) => ({ action, before, after }))).toEqual([
      { action: "pause.remove", before: { note: "two" }, after: null },
      { action: "pause.set", before: { note: "one" }, after: { note: "two" } },
      { action: "pause.set", before: null, after: { note: "one" } },
    ]);
    expect(kept[0]).toMatchObject({ subject: "ops", reason: "too many mails", ticket: "OPS-7" });
    expect(await ledger.listOperations(2, "", lastUuid, 10)).toEqual([]);
  });
});

describe("changes of a gate that meet", () => {
  it("are each kept with what stood before", async () => {
    const target = { type: "product", product: "busy" } as const;
    await ledger.setGate(operator, "pause.set", target, pause("first"));
    const notes = Array.from({ length: 12 }, (_, at) => `note ${at}`);

    await Promise.all(notes.map((note) => ledger.setGate(operator, "pause.set", target, pause(note))));

    const kept = await ledger.listOperations(1, "product:busy", lastUuid, 20);
    const noteOf = (settings: unknown) => (settings as { note: string } | null)?.note;
    const { gates } = await ledger.readGates();
    const stands = gates.find((gate) => gate.target.type === "product" && gate.target.product === "busy");
    expect(kept.map(({ before }) => noteOf(before)).toSorted()).toEqual(
      [undefined, "first", ...notes].filter((note) => note !== stands?.settings.note).toSorted(),
    );
  });
});

describe("parked jobs", () => {
  /** Jobs that wait at a gate, with these scores. */
  async function park(gateId: number, scores: readonly number[]): Promise<string[]> {
    const jobIds: string[] = [];
    for (const score of scores) {
      const jobId = await submitOne(room);
      jobIds.push(jobId);
      await room.sql("update job set state = 4 where id = $1", [jobId]);
      await room.sql("insert into parked (job_id, gate_id, reason, score) values ($1, $2, 'FULL', $3)", [
        jobId,
        gateId,
        score,
      ]);
    }
    return jobIds;
  }

  it("return to their lanes in score order, as many as there is room for", async () => {
    const [low, high, middle] = await park(901, [1, 3, 2]);

    const first = await ledger.reopenParked({ gateId: 901, jobsMax: 2 });
    expect(first.map(({ jobId }) => jobId)).toEqual([high, middle]);
    const lane = (await readRow(room, high as string)).lane_id;
    const page = await ledger.readLanePage(lane, 0, 100);
    expect(page.map(({ jobId }) => jobId).filter((id) => id === high || id === middle)).toEqual([
      high,
      middle,
    ]);
    expect(await ledger.listParkedGates(-1_000_000, 1_000)).toEqual([901]);

    expect((await ledger.reopenParked({ gateId: 901, jobsMax: 2 })).map(({ jobId }) => jobId)).toEqual([low]);
    expect(await ledger.listParkedGates(-1_000_000, 1_000)).toEqual([]);
  });

  it("each return once, however many hubs look", async () => {
    const jobIds = await park(
      902,
      Array.from({ length: 30 }, (_, at) => at),
    );
    const other = await room.openLedger();

    const rounds = await Promise.all(
      [ledger, other, ledger, other].map((one) => one.reopenParked({ gateId: 902, jobsMax: 20 })),
    );

    const returned = rounds.flatMap((refs) => refs.map(({ jobId }) => jobId));
    expect(returned.sort()).toEqual(jobIds.sort());
  });

  it("are gone from their gate when they end", async () => {
    const [jobId = ""] = await park(903, [1]);
    expect(await ledger.readParking(jobId)).toMatchObject({ gateId: 903, reason: "FULL" });
    expect((await ledger.readParked([903, 904], 10)).get(903)).toMatchObject({ jobs: 1 });

    await ledger.cancel({ jobId, tenantId: 1, reason: "", graceMs: 0 });

    expect(await ledger.readParking(jobId)).toBeNull();
    expect((await ledger.readParked([903], 10)).get(903)).toEqual({ jobs: 0, sinceMs: null });
  });
});
