import { afterEach, beforeEach, expect, it } from "vitest";
import { GateType } from "../../src/domain/gate.js";
import { noLimits } from "../../src/domain/meter.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { done, openSession, reportItem, submitItem, submitMany, unrefused } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { keyed, leasesOf, setGate, stopsOf } from "../harness/meter-acts.js";

let room: LedgerRoom;
beforeEach(async () => {
  room = await openLedgerRoom();
});
afterEach(() => room.close());

const loaded = 50_000;

/** Every statement of meters, for jobs under a cap and preemptive seats, some of which declare a key. */
async function liveThrough(ledger: Ledger, capId: number, seatsId: number, jobs: number): Promise<void> {
  const sessionId = await openSession(room, 60_000, ledger);
  const { epoch: gateEpoch } = await ledger.readGateEpoch();
  const plain = await submitMany(room, jobs, {}, ledger);
  const declaring = await submitMany(room, jobs, { options: keyed("loaded-7", 1_000) }, ledger);
  const items = (ids: readonly string[], meterIds: readonly number[], delivery: number) =>
    ids.map((jobId, at) => ({ jobId, sessionId, delivery, gateEpoch, score: -at, meterIds }));
  const leases = leasesOf(
    unrefused(await ledger.claim(items([...plain, ...declaring], [capId, seatsId], 1))),
  );
  expect(leases).toHaveLength(2 * jobs);
  await ledger.recordSpend(
    leases.map(({ jobId, fencingToken }) => ({ jobId, sessionId, fencingToken, costMicroUsd: 1, tokens: 1 })),
  );
  const lane = await room.makeLane({ priority: 4 });
  const critical = { ...submitItem(room, { priority: 4 }), laneId: lane.laneId };
  await ledger.submit([critical]);
  await room.sql("update meter set jobs = jobs + 100000 where meter_id = $1", [seatsId]);
  const [stop] = stopsOf(unrefused(await ledger.claim(items([critical.jobId], [seatsId], 2))));
  expect(stop?.stoppedAt).toBe(seatsId);
  const laneIds = [room.lane.laneId];
  const wish = { seatsMeterId: seatsId, seatsMax: 100_000, jobId: critical.jobId, laneIds, graceMs: 0 };
  expect(await ledger.preempt(wish)).not.toBeNull();
  await room.sql("update meter set jobs = jobs - 100000 where meter_id = $1", [seatsId]);
  await ledger.readMeterLevels([capId, seatsId]);
  await ledger.readKeyLevel(1, "loaded-7");
  await ledger.readParkedAsks(-999_999, 100);
  await ledger.firePreemptGraces(10);
  await ledger.report(leases.map((lease) => reportItem(sessionId, lease, done)));
}

it.each([
  ["it was prepared on empty tables", false],
  ["all were counted while nearly empty", true],
])("no statement of meters walks what others hold, wait for or count, also when %s", async (_, isCounted) => {
  const early = await room.openLedger();
  const late = await room.openLedger();
  const settings = { note: "", ...noLimits, jobsMax: 100_000 };
  const { gateId: capId } = await setGate(
    room,
    { type: "product", product: "default" },
    { type: GateType.Cap, settings },
  );
  const { gateId: seatsId } = await setGate(
    room,
    { type: "product", product: "default" },
    { type: GateType.Seats, settings: { note: "", seatsMax: 100_000, isPreemptive: true, graceMs: 0 } },
  );
  await liveThrough(early, capId, seatsId, 2);
  if (isCounted) {
    await room.sql("vacuum analyze");
    await liveThrough(early, capId, seatsId, 2);
  }
  const many = `from generate_series(1, ${loaded}) n`;
  await room.sql(
    `insert into meter (meter_id, tenant_id, declared_key) select -100000 - n, 1, 'other-' || n ${many}`,
  );
  await room.sql(
    `insert into seat (job_id, fencing_token, seats_meter_id, priority, lane_id, score)
     select gen_random_uuid(), 1, -999999, 2, 1, n ${many}`,
  );
  await room.sql(
    `insert into spend (job_id, fencing_token, cost, tokens) select gen_random_uuid(), 1, 0, 0 ${many}`,
  );
  await room.sql(
    `insert into hold_end (meter_id, jobs, cost, tokens, settled_cost, settled_tokens, spent_cost, spent_tokens)
     select -100000 - n, 1, 0, 0, 0, 0, 0, 0 ${many} where n > 100`,
  );
  await room.sql(
    `insert into parked (job_id, gate_id, reason, score) select gen_random_uuid(), -999999, 'FULL', n ${many}`,
  );
  await room.sql("select pg_stat_reset()");

  await liveThrough(early, capId, seatsId, 100);
  await liveThrough(late, capId, seatsId, 100);
  await early.stop();
  await late.stop();

  const read = () =>
    room.sql<{ table: string; seq: number; index: number }>(
      `select t.relname as "table", t.seq_tup_read::integer as seq,
         (select coalesce(sum(i.idx_tup_read), 0)::integer from pg_stat_user_indexes i where i.relid = t.relid) as index
       from pg_stat_user_tables t where t.relname in ('meter', 'seat', 'spend', 'hold_end', 'parked') order by 1`,
    );
  await expect
    .poll(async () => (await read()).find(({ table }) => table === "seat")?.index)
    .toBeGreaterThan(400);
  for (const { table, seq, index } of await read()) {
    expect({ table, seq }).toEqual({ table, seq: 0 });
    expect({ table, isByKey: index < 15_000 }).toEqual({ table, isByKey: true });
  }
});
