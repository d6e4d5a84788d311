import { describe, expect, it } from "vitest";
import { GateType } from "../../src/domain/gate.js";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import { fittingFrom, noLimits, type ReadLevel } from "../../src/domain/meter.js";
import type { StoppedJob } from "../../src/ledger/claim-jobs.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { done, failed, openSession, readRow, reportItem, submitMany } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";
import {
  claimUnder,
  estimated,
  expectMetersConserved,
  keyed,
  leasesOf,
  setGate,
  stopsOf,
} from "../harness/meter-acts.js";

const desk = await openLedgerDesk();
const { room, sessionId } = desk;
const { ledger } = room;
const claim = claimUnder(desk);
const cap = (jobsMax: number | null, costMax: number | null = null) =>
  ({ type: GateType.Cap, settings: { note: "", ...noLimits, jobsMax, costMax } }) as const;

describe("a cap", () => {
  it("lets as many jobs start as it has room for, the best score first, and parks the others", async () => {
    const { gateId } = await setGate(room, { type: "queue", product: "default", queue: "a" }, cap(2));
    const jobIds = await submitMany(room, 4);

    const results = await claim(jobIds, [gateId], { scores: [1, 4, 2, 3] });

    expect(leasesOf(results).map(({ jobId }) => jobId)).toEqual([jobIds[1], jobIds[3]]);
    expect(stopsOf(results)).toHaveLength(2);
    expect(stopsOf(results)[0]).toMatchObject({
      stoppedAt: gateId,
      reason: "queue:default/a is at its limit of 2 jobs in flight",
    });
    expect(await readRow(room, jobIds[0] as string)).toMatchObject({
      state: JobState.Parked,
      token: 0,
      revision: 2,
    });
    const history = await ledger.readHistory(1, jobIds[0] as string, 0, 10);
    expect(history.at(-1)).toMatchObject({ type: JobEventType.Deferred });
    await expectMetersConserved(room);

    const [first] = leasesOf(results) as [GrantedLease];
    await ledger.report([reportItem(sessionId, first, done)]);
    await expectMetersConserved(room);
    expect((await ledger.readMeterLevels([gateId])).get(gateId)).toMatchObject({ jobs: 1 });
    const [ref] = await ledger.reopenParked({ gateId, jobsMax: 1 });
    expect(ref?.jobId).toBe(jobIds[2]);
    expect(leasesOf(await claim([ref?.jobId as string], [gateId]))).toHaveLength(1);
    await expectMetersConserved(room);
  });

  it("is held by a job once, however its lease ends, and let go once", async () => {
    const { gateId } = await setGate(room, { type: "product", product: "ends" }, cap(10));
    const jobIds = await submitMany(room, 4);
    const [one, two, three, four] = leasesOf(await claim(jobIds, [gateId])) as [
      GrantedLease,
      GrantedLease,
      GrantedLease,
      GrantedLease,
    ];
    const report = reportItem(sessionId, one, done);
    await ledger.report([report]);
    expect(await ledger.report([report])).toEqual([{ type: "duplicate" }]);
    await ledger.report([reportItem(sessionId, two, failed)]);
    await ledger.cancel({ jobId: three.jobId, tenantId: 1, reason: "", graceMs: 0 });
    const back = { sessionId, fencingToken: null, event: JobEventType.Expired, isStarted: true } as const;
    await ledger.returnLeases([{ jobId: four.jobId, ...back }]);

    expect((await ledger.readMeterLevels([gateId])).get(gateId)).toMatchObject({ jobs: 0 });
    await expectMetersConserved(room);
    // What the ends left behind is subtracted by the next claim.
    await claim([four.jobId], [gateId]);
    expect(await room.sql("select from hold_end where meter_id = $1", [gateId])).toEqual([]);
    await expectMetersConserved(room);
  });

  it("of money holds what jobs say they will cost, and a job that fits in goes before one that does not", async () => {
    const { gateId } = await setGate(room, { type: "product", product: "costly" }, cap(null, 1_000_000));
    const [large, small] = [
      ...(await submitMany(room, 1, { options: estimated(900_000) })),
      ...(await submitMany(room, 1, { options: estimated(100_000) })),
    ] as [string, string];
    const [larger] = await submitMany(room, 1, { options: estimated(200_000) });

    const results = await claim([large, larger as string, small], [gateId]);

    expect(leasesOf(results).map(({ jobId }) => jobId)).toEqual([large, small]);
    expect(stopsOf(results)[0]?.reason).toBe("product:costly is at its limit of 1.00 US dollars");
    await expectMetersConserved(room);
  });

  it("of money has room again when leases have ended, whatever they spent", async () => {
    const { gateId } = await setGate(room, { type: "product", product: "again" }, cap(null, 1_000));
    for (let turn = 0; turn < 3; turn += 1) {
      const jobIds = await submitMany(room, 1, { options: estimated(800) });
      const [lease] = leasesOf(await claim(jobIds, [gateId])) as [GrantedLease];
      await ledger.report([
        { ...reportItem(sessionId, lease, done), spend: { costMicroUsd: 5_000, tokens: 1 } },
      ]);
    }
    await expectMetersConserved(room);
  });

  it("stands in the way together with others, and who waits at one takes nothing of the other", async () => {
    const wide = await setGate(room, { type: "product", product: "both" }, cap(5));
    const narrow = await setGate(room, { type: "queue", product: "both", queue: "q" }, cap(1));
    const jobIds = await submitMany(room, 3);

    const results = await claim(jobIds, [wide.gateId, narrow.gateId]);

    expect(leasesOf(results)).toHaveLength(1);
    expect(stopsOf(results).map(({ stoppedAt }) => stoppedAt)).toEqual([narrow.gateId, narrow.gateId]);
    expect((await ledger.readMeterLevels([wide.gateId])).get(wide.gateId)).toMatchObject({ jobs: 1 });
  });
});

describe("a key that jobs declare", () => {
  it("has as many in flight as they say, though no gate stands before their lane", async () => {
    const jobIds = await submitMany(room, 3, { options: keyed("customer-1", 2) });
    const others = await submitMany(room, 1, { options: keyed("customer-2", 2) });

    const results = await claim([...jobIds, ...others], []);

    expect(leasesOf(results).map(({ jobId }) => jobId)).toEqual([jobIds[0], jobIds[1], others[0]]);
    const [stop] = stopsOf(results) as [StoppedJob];
    expect(stop.stoppedAt).toBeLessThan(0);
    expect(stop.reason).toBe("key:customer-1 is at its limit of 2 jobs in flight");
    expect(await ledger.readParkedAsks(stop.stoppedAt, 10)).toMatchObject([
      { jobId: jobIds[2], declared: { jobsMax: 2 } },
    ]);
    await expectMetersConserved(room);
  });

  it("keeps to what an operator set, where that is less", async () => {
    await setGate(room, { type: "key", key: "customer-3" }, cap(1));
    const jobIds = await submitMany(room, 2, { options: keyed("customer-3", 5) });
    const free = await submitMany(room, 2, { options: keyed("customer-4", null) });

    expect(leasesOf(await claim(jobIds, []))).toHaveLength(1);
    expect(leasesOf(await claim(free, []))).toHaveLength(2);
  });

  it("is forgotten when nobody has used it for long, and only then", async () => {
    const [jobId] = await submitMany(room, 1, { options: keyed("idle", 1) });
    const [lease] = leasesOf(await claim([jobId as string], [])) as [GrantedLease];
    await room.sql("update meter set used_at = now() - interval '2 days' where declared_key = 'idle'");
    expect(await ledger.forgetIdleKeys(86_400_000, 100)).toBe(0);
    await ledger.report([reportItem(sessionId, lease, done)]);
    const again = await submitMany(room, 1, { options: keyed("idle", 1) });
    const [next] = leasesOf(await claim(again, [])) as [GrantedLease];
    await ledger.report([reportItem(sessionId, next, done)]);
    await room.sql(
      "delete from hold_end where meter_id = (select meter_id from meter where declared_key = 'idle')",
    );
    await room.sql(
      "update meter set jobs = 0, used_at = now() - interval '2 days' where declared_key = 'idle'",
    );
    expect(await ledger.forgetIdleKeys(86_400_000, 100)).toBe(1);
    const last = await submitMany(room, 1, { options: keyed("idle", 1) });
    expect(leasesOf(await claim(last, []))).toHaveLength(1);
  });
});

describe("10,000 jobs that wait at a key", () => {
  it("return in score order, as many as fit, and are not looked at while it is full", async () => {
    const [holder = ""] = await submitMany(room, 1, { options: keyed("crowd", 1) });
    const [lease] = leasesOf(await claim([holder], [])) as [GrantedLease];
    const [first = ""] = await submitMany(room, 1, { options: keyed("crowd", 1) });
    const [stop] = stopsOf(await claim([first], [])) as [StoppedJob];
    const jobIds: string[] = [];
    for (let part = 0; part < 20; part += 1)
      jobIds.push(...(await submitMany(room, 500, { options: keyed("crowd", 1) })));
    await room.sql("update job set state = 4 where id = any($1)", [jobIds]);
    await room.sql(
      `insert into parked (job_id, gate_id, reason, score)
       select id, $2, 'FULL', (n * 7919) % 10007 from unnest($1::uuid[]) with ordinality as j (id, n)`,
      [jobIds, stop.stoppedAt],
    );
    const scoreOf = new Map(jobIds.map((jobId, at) => [jobId, ((at + 1) * 7919) % 10007]));
    const best = [...jobIds].sort((a, b) => (scoreOf.get(b) ?? 0) - (scoreOf.get(a) ?? 0));

    const level = (await ledger.readMeterLevels([stop.stoppedAt])).get(stop.stoppedAt) as ReadLevel;
    expect(fittingFrom(level, await ledger.readParkedAsks(stop.stoppedAt, 100))).toBe(0);
    await ledger.report([reportItem(sessionId, lease, done)]);
    const after = (await ledger.readMeterLevels([stop.stoppedAt])).get(stop.stoppedAt) as ReadLevel;
    expect(fittingFrom(after, await ledger.readParkedAsks(stop.stoppedAt, 100))).toBe(1);
    const returned: string[] = [];
    for (let round = 0; round < 12; round += 1)
      returned.push(
        ...(await ledger.reopenParked({ gateId: stop.stoppedAt, jobsMax: 1_000 })).map(({ jobId }) => jobId),
      );
    expect(returned.filter((jobId) => jobId !== first)).toEqual(best);
  });
});

describe("hubs that claim at the same time", () => {
  it("never pass a cap together, and leave no room that one of them could use", async () => {
    const { gateId } = await setGate(room, { type: "product", product: "race" }, cap(7));
    const jobIds = await submitMany(room, 60, { options: keyed("race", 5) });
    const ledgers = [ledger, await room.openLedger(), await room.openLedger()];
    const sessions = [
      sessionId,
      await openSession(room, 60_000, ledgers[1]),
      await openSession(room, 60_000, ledgers[2]),
    ];

    const claims = jobIds.map((jobId, at) =>
      claim([jobId], [gateId], { ledger: ledgers[at % 3] as Ledger, sessionId: sessions[at % 3] as string }),
    );
    const results = (await Promise.all(claims)).flat();

    expect(results.filter((result) => result === "contended")).toEqual([]);
    expect(leasesOf(results)).toHaveLength(5);
    await expectMetersConserved(room);
  });
});
