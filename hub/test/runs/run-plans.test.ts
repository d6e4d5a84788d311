import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { Outcome } from "../../src/domain/outcome.js";
import { RunPolicy } from "../../src/domain/run.js";
import { firstUuid } from "../../src/domain/uuid.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { claimAll, done, failed, openSession, operator, reportItem } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import {
  addChildren,
  hard,
  linkedJob,
  linkedSpec,
  replayItem,
  submitAfter,
  submitRun,
} from "../harness/run-acts.js";

const children = 300;
const tables = [
  "job",
  "run",
  "run_node",
  "run_edge",
  "compensation",
  "idempotency",
  "timer",
  "effect",
  "replay_job",
];

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

/** Every statement on runs, for one of some hundred children that goes well and one that fails. */
async function liveThrough(ledger: Ledger): Promise<void> {
  const on = { ...room, ledger };
  const sessionId = await openSession(room, 600_000, ledger);
  let delivery = 0;
  for (const outcome of [done, { ...failed, permanent: true } as Outcome]) {
    const pairs = Array.from({ length: children / 2 }, (_, at) => [at, at + children / 2] as const);
    const { runId, childIds } = await submitRun(on, children, pairs, RunPolicy.Continue);
    const more = linkedJob(room, linkedSpec());
    await addChildren(on, runId, [more], [hard(childIds[0] as string, more.jobId)]);
    const follower = await submitAfter(on, (id) => [hard(runId, id)]);
    const halves = [childIds.slice(0, children / 2), [...childIds.slice(children / 2), more.jobId], [runId]];
    for (const half of halves) {
      delivery += 1;
      const leases = (await claimAll(ledger, sessionId, half, delivery)).filter((lease) => lease !== null);
      await ledger.report(leases.map((lease: GrantedLease) => reportItem(sessionId, lease, outcome)));
    }
    await ledger.cancel({ jobId: follower.jobId, tenantId: 1, reason: "", graceMs: 0 });
    const replay = await ledger.replay(await replayItem(ledger, runId));
    if (replay.type === "accepted") await ledger.readReplayedJobs(replay.replayId, firstUuid, 500);
    await ledger.readReplay(1, runId);
    await ledger.revive({ jobId: childIds[0] as string, ...operator() });
    await ledger.readDag(1, runId, firstUuid, 1_000);
    await ledger.readChildren(1, runId, { afterId: firstUuid, childrenMax: 50, bytesMax: 1 << 20 });
    const cancelled = await submitRun(on, children);
    await ledger.cancel({ jobId: cancelled.runId, tenantId: 1, reason: "", graceMs: 0 });
  }
  await ledger.fireDeadlines(10);
}

async function load(): Promise<void> {
  const many = "from generate_series(1, 30000) n";
  await room.sql(`insert into run select gen_random_uuid(), 1, 1, 0, 1 ${many}`);
  await room.sql(`insert into run_node select gen_random_uuid(), gen_random_uuid(), true, 0 ${many}`);
  await room.sql(`insert into run_edge select gen_random_uuid(), gen_random_uuid(), true ${many}`);
  await room.sql(
    `insert into compensation select gen_random_uuid(), false, null, 1, 1, 1, null, null, '' ${many}`,
  );
  await room.sql(`insert into idempotency select 1, 'loaded-' || n, gen_random_uuid(), '' ${many}`);
  await room.sql(
    `insert into timer select 1 + n % 3, now() + interval '1 day', gen_random_uuid(), 0 ${many}`,
  );
}

describe("with 30,000 other runs", () => {
  it("no statement on runs scans a table or walks an index, also when it was prepared on an empty one", async () => {
    const early = await room.openLedger();
    await liveThrough(early);
    await load();
    const late = await room.openLedger();
    await room.sql("select pg_stat_reset()");

    await liveThrough(early);
    await liveThrough(late);
    await early.stop();
    await late.stop();

    const reads = () =>
      room.sql<{ table: string; seq: number; index: number }>(
        `select regexp_replace(t.relname, '_\\\\d+$', '') as "table", sum(t.seq_tup_read)::integer as seq,
           sum((select coalesce(sum(i.idx_tup_read), 0) from pg_stat_user_indexes i where i.relid = t.relid))::integer as index
         from pg_stat_user_tables t where t.schemaname = 'holdfast' group by 1`,
      );
    await expect
      .poll(async () => (await reads()).find(({ table }) => table === "run_node")?.index ?? 0)
      .toBeGreaterThan(2_000);
    for (const { table, seq, index } of (await reads()).filter(({ table }) => tables.includes(table))) {
      expect({ table, seq }).toEqual({ table, seq: 0 });
      // Some ten looks at each of 2,400 jobs; a walk through one of these tables, once a statement, would be far more.
      expect({ table, isByKey: index < 100_000 }).toEqual({ table, isByKey: true });
    }
  });
});
