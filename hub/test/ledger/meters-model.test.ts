// What holds of meters whatever hubs and workers do, and whenever connections break: random acts on three ledgers at once,
// while an eye that looks at single moments checks that what is held is conserved and that no limit is passed (D18).
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { GateType } from "../../src/domain/gate.js";
import type { JobOptions } from "../../src/domain/job-spec.js";
import { JobEventType } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import { noLimits } from "../../src/domain/meter.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { done, failed, openSession, quickRetry, reportItem, submitMany } from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { openLedgerRoom } from "../harness/ledger-room.js";
import { expectMetersConserved, leasesOf, setGate } from "../harness/meter-acts.js";

const room = await openLedgerRoom();
afterAll(() => room.close());

const jobsMax = 12;
const costMax = 2_000;
const ceiling = 1_000_000_000;
const keyMax = 3;

/** Numbers that follow from the seed (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const seed = Number(process.env.METERS_SEED ?? Date.now() % 1_000_000);

it(`seed ${seed}: holds are conserved and no limit is passed, however leases end and connections break (D18)`, async () => {
  const cap = await setGate(
    room,
    { type: "queue", product: "default", queue: "default" },
    {
      type: GateType.Cap,
      settings: { note: "", ...noLimits, jobsMax, costMax },
    },
  );
  const budget = await setGate(
    room,
    { type: "product", product: "default" },
    {
      type: GateType.Budget,
      settings: {
        ...{ note: "", costMax: ceiling, tokensMax: null, window: "day", timeZone: "UTC" },
        ...{ alertPercent: 80, isPaused: false },
      },
    },
  );
  const meterIds = [budget.gateId, cap.gateId];
  const { epoch: gateEpoch } = await room.ledger.readGateEpoch();
  const ledgers = [room.ledger, await room.openLedger(), await room.openLedger()] as const;
  let isOver = false;

  const watch = async () => {
    while (!isOver) {
      await expectMetersConserved(room);
      const [most] = await room.sql<{ jobs: number; cost: number; key_jobs: number }>(
        `select (select count(*)::integer from hold where $1 = any(meter_ids)) as jobs,
           (select coalesce(sum(cost), 0)::float8 from hold where $1 = any(meter_ids)) as cost,
           (select coalesce(max(n), 0)::integer from (
             select count(*) as n from hold h cross join lateral unnest(h.meter_ids) m where m < 0 group by m) k) as key_jobs`,
        [cap.gateId],
      );
      expect(most?.jobs).toBeLessThanOrEqual(jobsMax);
      expect(most?.cost).toBeLessThanOrEqual(costMax);
      expect(most?.key_jobs).toBeLessThanOrEqual(keyMax);
      await delay(5);
    }
  };

  const breakConnections = async () => {
    const random = randomOf(seed + 7);
    while (!isOver) {
      await delay(150 + random(200));
      await room.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'holdfast-writer' and random() < 0.4`,
      );
    }
  };

  const work = async (at: number) => {
    const ledger = ledgers[at] as Ledger;
    const random = randomOf(seed * 31 + at);
    const sessionId = await openSession(room, 600_000, ledger);
    const held: GrantedLease[] = [];
    let delivery = 0;
    let waiting: string[] = [];
    const optionsOf = (): JobOptions => ({
      ...(random(2) === 0 && { inFlight: { key: `customer-${random(3)}`, jobsMax: keyMax, policy: 1 } }),
      ...(random(3) > 0 && { estimate: { costMicroUsd: random(400), tokens: random(50) } }),
    });
    const act = async () => {
      const choice = random(10);
      const lease = held.length > 0 ? held.splice(random(held.length), 1)[0] : undefined;
      if (choice < 3 || !lease) {
        if (lease) held.push(lease);
        for (let n = random(4); n >= 0; n -= 1)
          waiting.push(...(await submitMany(room, 1, { options: optionsOf(), retry: quickRetry }, ledger)));
        for (const gateId of await ledger.listParkedGates(-1_000_000, 1_000))
          waiting.push(...(await ledger.reopenParked({ gateId, jobsMax: 3 })).map(({ jobId }) => jobId));
        delivery += 1;
        const items = waiting.map((jobId, n) => ({
          jobId,
          sessionId,
          delivery,
          gateEpoch,
          score: -n,
          meterIds,
        }));
        waiting = [];
        if (items.length > 0) held.push(...leasesOf(await ledger.claim(items)));
        return;
      }
      const { jobId, fencingToken } = lease;
      if (choice < 6) {
        const spend = { costMicroUsd: random(600), tokens: random(80) };
        const report = {
          ...reportItem(sessionId, lease, choice === 3 ? failed : done),
          ...(random(2) === 0 && { spend }),
        };
        await ledger.report([report]);
        await ledger.report([report]);
      } else if (choice < 8) {
        const event = choice === 6 ? JobEventType.Released : JobEventType.Expired;
        const [back] = await ledger.returnLeases([
          { jobId, sessionId, fencingToken, event, isStarted: random(2) === 0 },
        ]);
        if (back && "type" in back && back.type === "ready") waiting.push(jobId);
      } else if (choice === 8) {
        await ledger.cancel({ jobId, tenantId: 1, reason: "", graceMs: 0 });
      } else {
        await ledger.recordSpend([{ jobId, sessionId, fencingToken, costMicroUsd: random(600), tokens: 1 }]);
        held.push(lease);
      }
      const { refs } = await ledger.fireReadyTimers(10);
      waiting.push(...refs.map((ref) => ref.jobId));
    };
    for (let acts = 0; acts < 250; acts += 1)
      // A connection that breaks under a call that somebody waits for is that caller's failure.
      await act().catch((error: { reason?: string }) => {
        if (error.reason !== "LEDGER_UNAVAILABLE") throw error;
      });
  };

  const others = [watch(), breakConnections()];
  try {
    await Promise.all([work(0), work(1), work(2)]);
  } finally {
    isOver = true;
  }
  await Promise.all(others);

  await expectMetersConserved(room);
  await expectBooksInOrder(room);
  const [sums] = await room.sql<{ held: number; jobs: number }>(
    "select sum(held_cost)::float8 as held, (select count(*)::integer from event where type = 3) as jobs from meter",
  );
  expect(sums?.held).toBeGreaterThan(0);
  expect(sums?.jobs).toBeGreaterThan(100);
}, 180_000);
