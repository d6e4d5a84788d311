import { describe, expect, it } from "vitest";
import { GateType } from "../../src/domain/gate.js";
import { type JobSpec, Priority, UniquePolicy } from "../../src/domain/job-spec.js";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { jobSpec } from "../harness/job-spec.js";
import { done, readRow, reportItem, submitItem, unrefused } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";
import { claimUnder, expectMetersConserved, leasesOf, setGate, stopsOf } from "../harness/meter-acts.js";
import { linkedJob, linkedSpec } from "../harness/run-acts.js";

const desk = await openLedgerDesk();
const { room, sessionId } = desk;
const { ledger } = room;
const claim = claimUnder(desk);
const lanes = new Map(
  await Promise.all(
    Object.values(Priority).map(async (priority) => [priority, await room.makeLane({ priority })] as const),
  ),
);
const gpuLane = await room.makeLane({ capabilities: ["gpu"] });
const laneIdOf = (priority: Priority) => lanes.get(priority)?.laneId as number;
const lowerLanes = [laneIdOf(1), laneIdOf(2), laneIdOf(3)];

async function seats(product: string, seatsMax: number): Promise<number> {
  const settings = { note: "", seatsMax, isPreemptive: true, graceMs: 0 };
  return (await setGate(room, { type: "product", product }, { type: GateType.Seats, settings })).gateId;
}

async function submit(priority: Priority, laneId = laneIdOf(priority), spec: Partial<JobSpec> = {}) {
  const item = { ...submitItem(room, { priority, ...spec }), laneId };
  unrefused(await ledger.submit([item]));
  return item.jobId;
}

async function sit(
  gateId: number,
  priority: Priority,
  score: number,
  laneId?: number,
): Promise<GrantedLease> {
  const [lease] = leasesOf(await claim([await submit(priority, laneId)], [gateId], { scores: [score] }));
  if (!lease) throw new Error("There was no seat.");
  return lease;
}

/** A critical job that found no seat. */
async function criticalAt(gateId: number, score = 0): Promise<string> {
  const jobId = await submit(Priority.Critical);
  const [stop] = stopsOf(await claim([jobId], [gateId], { scores: [score] }));
  expect(stop?.stoppedAt).toBe(gateId);
  return jobId;
}

function preempt(item: Partial<Parameters<Ledger["preempt"]>[0]> & { seatsMeterId: number; jobId: string }) {
  return ledger.preempt({ seatsMax: 2, laneIds: lowerLanes, graceMs: 0, ...item });
}

describe("a critical job without a seat", () => {
  it("takes that of the lowest-scoring job, which is ready again with its attempts as before", async () => {
    const gateId = await seats("lowest", 2);
    const [best, worst] = [await sit(gateId, Priority.High, 20), await sit(gateId, Priority.Normal, 10)];
    const jobId = await criticalAt(gateId);

    const preempted = await preempt({ seatsMeterId: gateId, jobId });

    expect(preempted).toMatchObject({
      lease: { jobId: worst.jobId, sessionId, fencingToken: worst.fencingToken },
      ref: { jobId: worst.jobId, attempt: 0 },
      dueAtMs: null,
    });
    expect(await readRow(room, worst.jobId)).toMatchObject({ state: JobState.Ready, attempt: 0, token: 2 });
    const history = await ledger.readHistory(1, worst.jobId, 0, 10);
    expect(history.at(-1)).toMatchObject({ type: JobEventType.Preempted, reason: jobId });
    expect(await ledger.report([reportItem(sessionId, worst, done)])).toEqual([{ type: "stale" }]);
    expect(await readRow(room, best.jobId)).toMatchObject({ state: JobState.Leased });
    // Nobody else gets the seat, however it scores; the critical job returns first.
    const normal = await submit(Priority.Normal);
    expect(stopsOf(await claim([normal], [gateId], { scores: [1_000] }))).toHaveLength(1);
    expect((await ledger.reopenParked({ gateId, jobsMax: 1 })).map((ref) => ref.jobId)).toEqual([jobId]);
    expect(leasesOf(await claim([jobId], [gateId]))).toHaveLength(1);
    await expectMetersConserved(room);
  });

  it("never takes that of an equal, nor one that its worker could not do, nor one while seats are free", async () => {
    const gateId = await seats("never", 2);
    await sit(gateId, Priority.Critical, 1);
    const gpu = await sit(gateId, Priority.Low, 0, gpuLane.laneId);
    const jobId = await criticalAt(gateId);

    expect(await preempt({ seatsMeterId: gateId, jobId })).toBeNull();
    expect(
      await preempt({ seatsMeterId: gateId, jobId, laneIds: [...lowerLanes, gpuLane.laneId], seatsMax: 3 }),
    ).toBeNull();
    expect(await readRow(room, gpu.jobId)).toMatchObject({ state: JobState.Leased });

    const taken = await preempt({ seatsMeterId: gateId, jobId, laneIds: [...lowerLanes, gpuLane.laneId] });
    expect(taken?.lease.jobId).toBe(gpu.jobId);
    await expectMetersConserved(room);
  });

  it("takes one seat only, however many hubs find it waiting", async () => {
    const gateId = await seats("hubs", 2);
    await sit(gateId, Priority.Low, 1);
    await sit(gateId, Priority.Low, 2);
    const jobId = await criticalAt(gateId);
    const other = await room.openLedger();

    const item = { seatsMeterId: gateId, jobId, seatsMax: 2, laneIds: lowerLanes, graceMs: 0 };
    const taken = await Promise.all([ledger.preempt(item), other.preempt(item), ledger.preempt(item)]);

    expect(taken.filter((one) => one !== null).length).toBeLessThanOrEqual(2);
    expect(taken.some((one) => one !== null)).toBe(true);
    await expectMetersConserved(room);
  });
});

describe("a critical job that found no victim", () => {
  const promisedAt = async (gateId: number) =>
    (await ledger.readMeterLevels([gateId])).get(gateId)?.promised ?? 0;

  async function freeSeat(gateId: number): Promise<string> {
    const first = await sit(gateId, Priority.Critical, 1);
    const jobId = await criticalAt(gateId);
    expect(await preempt({ seatsMeterId: gateId, jobId, seatsMax: 1 })).toBeNull();
    unrefused(await ledger.report([reportItem(sessionId, first, done)]));
    expect((await ledger.reopenParked({ gateId, jobsMax: 1 })).map((ref) => ref.jobId)).toEqual([jobId]);
    return jobId;
  }

  it("gets the next seat that is free, before all others, however they score", async () => {
    const gateId = await seats("next-seat", 1);
    const jobId = await freeSeat(gateId);
    const normal = await submit(Priority.Normal);

    expect(stopsOf(await claim([normal], [gateId], { scores: [1_000] }))).toHaveLength(1);
    expect(leasesOf(await claim([jobId], [gateId]))).toHaveLength(1);
    expect(await promisedAt(gateId)).toBe(0);
    await expectMetersConserved(room);
  });

  it("that does not come for it leaves it to the others before long", async () => {
    const gateId = await seats("lapsed", 1);
    const jobId = await freeSeat(gateId);
    expect(await promisedAt(gateId)).toBe(1);
    await ledger.cancel({ jobId, tenantId: 1, reason: "", graceMs: 0 });
    await room.sql("update meter set promised_until = now() where meter_id = $1", [gateId]);

    expect(leasesOf(await claim([await submit(Priority.Normal)], [gateId]))).toHaveLength(1);
  });

  it("is promised no more seats than are free, nor one that a victim gave up for it twice", async () => {
    const gateId = await seats("once", 2);
    await sit(gateId, Priority.Critical, 1);
    await sit(gateId, Priority.Low, 1);
    const jobId = await criticalAt(gateId);
    await preempt({ seatsMeterId: gateId, jobId });
    await ledger.reopenParked({ gateId, jobsMax: 1 });

    expect(await promisedAt(gateId)).toBe(1);
    expect(leasesOf(await claim([jobId], [gateId]))).toHaveLength(1);
    expect(await promisedAt(gateId)).toBe(0);
  });
});

describe("a grace", () => {
  it("lets a worker give its lease back by itself, which costs no attempt", async () => {
    const gateId = await seats("gives-back", 1);
    const lease = await sit(gateId, Priority.Low, 1);
    const jobId = await criticalAt(gateId);

    const preempted = await preempt({ seatsMeterId: gateId, jobId, seatsMax: 1, graceMs: 60_000 });
    expect(preempted).toMatchObject({ lease: { jobId: lease.jobId }, ref: null });
    expect(preempted?.dueAtMs).toBeGreaterThan(0);
    expect(await readRow(room, lease.jobId)).toMatchObject({ state: JobState.Leased, token: 1 });
    // Once is enough.
    expect(await preempt({ seatsMeterId: gateId, jobId, seatsMax: 1, graceMs: 60_000 })).toBeNull();

    const release = { sessionId, fencingToken: lease.fencingToken, isStarted: true } as const;
    await ledger.returnLeases([{ jobId: lease.jobId, ...release, event: JobEventType.Released }]);

    expect(await readRow(room, lease.jobId)).toMatchObject({ state: JobState.Ready, attempt: 0, token: 2 });
    expect((await ledger.readHistory(1, lease.jobId, 0, 10)).at(-1)).toMatchObject({
      type: JobEventType.Preempted,
    });
  });

  it("that is over ends the lease whatever the worker does, and a result that came before counts (D4)", async () => {
    const gateId = await seats("over", 2);
    const [stays, finishes] = [await sit(gateId, Priority.Low, 1), await sit(gateId, Priority.Low, 2)];
    const waiting = [await criticalAt(gateId), await criticalAt(gateId)] as const;
    for (const jobId of waiting)
      expect(await preempt({ seatsMeterId: gateId, jobId, graceMs: 60_000 })).not.toBeNull();
    expect(await ledger.report([reportItem(sessionId, finishes, done)])).toMatchObject([
      { type: "committed" },
    ]);
    await room.sql("update timer set due_at = now() - interval '1 second' where purpose = 6");

    const { ended, taken } = await ledger.firePreemptGraces(100);

    expect(taken).toBeGreaterThanOrEqual(2);
    expect(ended.map(({ lease }) => lease.jobId)).toEqual([stays.jobId]);
    expect(await readRow(room, stays.jobId)).toMatchObject({ state: JobState.Ready, attempt: 0, token: 2 });
    expect(await readRow(room, finishes.jobId)).toMatchObject({ state: JobState.Succeeded });
    await expectMetersConserved(room);
  });
});

describe("a preempted job has begun", () => {
  /** Has it lose its seat with no grace, by its worker within the grace, or at its end. */
  const ways: Readonly<Record<string, (gateId: number, lease: GrantedLease) => Promise<unknown>>> = {
    "at once": async (gateId) =>
      preempt({ seatsMeterId: gateId, jobId: await criticalAt(gateId), seatsMax: 1 }),
    "by its worker": async (gateId, { jobId, fencingToken }) => {
      await preempt({ seatsMeterId: gateId, jobId: await criticalAt(gateId), seatsMax: 1, graceMs: 60_000 });
      const event = JobEventType.Released;
      return ledger.returnLeases([{ jobId, sessionId, fencingToken, event, isStarted: true }]);
    },
    "when the grace is over": async (gateId) => {
      await preempt({ seatsMeterId: gateId, jobId: await criticalAt(gateId), seatsMax: 1, graceMs: 60_000 });
      await room.sql("update timer set due_at = now() - interval '1 second' where purpose = 6");
      return ledger.firePreemptGraces(100);
    },
  };

  async function sitAs(jobId: string, gateId: number): Promise<GrantedLease> {
    const [lease] = leasesOf(await claim([jobId], [gateId]));
    return lease as GrantedLease;
  }

  for (const [way, oust] of Object.entries(ways)) {
    it(`and is undone when it dies before it goes on, if it lost its seat ${way} (D8)`, async () => {
      const gateId = await seats(`undone-${way.replaceAll(" ", "-")}`, 1);
      const undo = { spec: jobSpec(), onRunFailure: false };
      const job = linkedJob(
        room,
        linkedSpec({ spec: jobSpec({ deadlineMs: Date.now() - 1 }), compensation: undo }),
      );
      const laneId = laneIdOf(Priority.Low);
      await ledger.submitLinked({
        ...{ type: "single", tenantId: 1, jobs: [{ ...job, laneId }], edges: [], outerEdges: [] },
      });
      await oust(gateId, await sitAs(job.jobId, gateId));
      expect(await readRow(room, job.jobId)).toMatchObject({ state: JobState.Ready, attempt: 0 });

      await ledger.fireDeadlines(100);

      expect(await readRow(room, job.jobId)).toMatchObject({ state: JobState.Dead });
      expect(await room.sql("select made_job_id from compensation where job_id = $1", [job.jobId])).toEqual([
        { made_job_id: expect.any(String) },
      ]);
    });

    it(`and is not replaced by another that has its unique key, if it lost its seat ${way}`, async () => {
      const gateId = await seats(`unique-${way.replaceAll(" ", "-")}`, 1);
      const unique = { key: `seat ${way}`, policy: UniquePolicy.Replace };
      const jobId = await submit(Priority.Low, undefined, { options: { unique } });
      await oust(gateId, await sitAs(jobId, gateId));

      const [again] = await ledger.submit([submitItem(room, { options: { unique } })]);

      expect(again).toEqual({ type: "existing", jobId });
      expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Ready, attempt: 0 });
    });
  }

  it("only if a handler can have: what is given back unopened within the grace may be replaced", async () => {
    const gateId = await seats("unopened", 1);
    const unique = { key: "unopened", policy: UniquePolicy.Replace };
    const jobId = await submit(Priority.Low, undefined, { options: { unique } });
    const { fencingToken } = await sitAs(jobId, gateId);
    await preempt({ seatsMeterId: gateId, jobId: await criticalAt(gateId), seatsMax: 1, graceMs: 60_000 });
    const event = JobEventType.Released;
    await ledger.returnLeases([{ jobId, sessionId, fencingToken, event, isStarted: false }]);

    const [again] = await ledger.submit([submitItem(room, { options: { unique } })]);

    expect(again).toMatchObject({ type: "accepted", replacedJobId: jobId });
  });
});
