import { v7 as uuidv7 } from "uuid";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { JobEventType } from "../../src/domain/job-state.js";
import type { Outcome } from "../../src/domain/outcome.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { patienceMs } from "../harness/effect-acts.js";
import {
  claimAll,
  done,
  failed,
  openSession,
  operator,
  reportItem,
  submitItem,
  submitMany,
} from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { openChannel, waitItem } from "../harness/wait-acts.js";

const loadedJobs = 200_000;
const died: Outcome = { ...failed, permanent: true } as Outcome;

let room: LedgerRoom;
beforeEach(async () => {
  room = await openLedgerRoom();
});
afterEach(() => room.close());

/** Every hot statement, for some jobs that are ready. */
async function liveThrough(ledger: Ledger, sessionId: string, jobIds: readonly string[]): Promise<void> {
  const leases = (await claimAll(ledger, sessionId, jobIds, 1)).flatMap((lease) => lease ?? []);
  expect(leases).toHaveLength(jobIds.length);
  const held = leases.map(({ jobId, fencingToken }) => ({ jobId, sessionId, fencingToken }));
  await ledger.saveCheckpoints(held.map((lease) => ({ ...lease, sequence: 1n, state: Buffer.from("half") })));
  await ledger.recordProgress(held.map((lease) => ({ ...lease, percent: 50, message: "" })));
  await doEffects(ledger, held.slice(0, 100));
  await doWaits(ledger, held.slice(100, 140));
  const [returned, reported] = [held.slice(0, 1), leases.slice(1)];
  await ledger.returnLeases(
    returned.map((lease) => ({ ...lease, event: JobEventType.Released, isStarted: true })),
  );
  const isDead = (at: number) => at < 90 && at % 20 === 0;
  const outcomeAt = (at: number) => (isDead(at) ? died : at % 10 === 0 ? failed : done);
  await ledger.report(reported.map((lease, at) => reportItem(sessionId, lease, outcomeAt(at))));
  const dead = reported.filter((_, at) => isDead(at));
  for (const answer of await ledger.reviveAll(dead.map(({ jobId }) => ({ jobId, ...operator("mended") }))))
    expect(answer).toMatchObject({ type: "revived" });
  await ledger.submit(jobIds.map((id) => submitItem(room, { idempotencyKey: `again-${id}` })));
  await adoptSome(ledger);
  const unique = (n: number) => submitItem(room, { options: { unique: { key: `key-${n}`, policy: 3 } } });
  for (let times = 0; times < 2; times += 1)
    await ledger.submit(Array.from({ length: 20 }, (_, n) => unique(n)));
  await ledger.cancel({ jobId: jobIds[0] as string, tenantId: 1, reason: "", graceMs: 0 });
  await ledger.fireReadyTimers(10);
  await ledger.fireDeadlines(10);
  await claimAll(ledger, sessionId, await submitMany(room, 5, {}, ledger), 2);
  await ledger.settleDeliveries([{ sessionId, delivery: 1 }]);
  await ledger.saveAcknowledgement({ sessionId, epoch: 1, deliveredThrough: 1 });
  await ledger.renewSessions([
    {
      sessionId,
      epoch: 1,
      ttlMs: 30_000,
      deliveredThrough: 1,
      isDraining: false,
      lastRequest: null,
    },
  ]);
  await ledger.closeSession({ sessionId, epoch: 1 });
  await ledger.readJob(1, jobIds[0] as string);
  await ledger.readLanePage(room.lane.laneId, 0, 100);
  await ledger.dealLanePage(room.lane.laneId, 0, Number.MAX_SAFE_INTEGER, 100);
  await ledger.raiseLowKeys([room.lane.laneId], Number.MAX_SAFE_INTEGER);
  await ledger.readHistory(1, jobIds.at(-1) as string, 0, 100);
}

async function liveThroughOn(ledger: Ledger, jobIds: readonly string[]): Promise<void> {
  await liveThrough(ledger, await openSession(room, 30_000, ledger), jobIds);
}

/** A job of another day than the others: a statement on both names no partition. */
async function submitYesterday(ledger: Ledger): Promise<string> {
  const jobId = uuidv7({ msecs: Date.now() - 86_400_000 });
  await ledger.submit([{ ...submitItem(room), jobId }]);
  return jobId;
}

/** Submits some jobs in SQL and adopts them. */
async function adoptSome(ledger: Ledger): Promise<void> {
  await room.sql("select submit('greet', idempotency_key => 'sql-' || random()) from generate_series(1, 20)");
  const entries = await ledger.readInbox(0, 100);
  const items = entries.map((entry) => ({
    ...submitItem(room, { idempotencyKey: entry.idempotencyKey }),
    jobId: entry.jobId,
  }));
  expect(await ledger.adopt(items)).toHaveLength(20);
  expect(await ledger.readInbox(0, 100)).toEqual([]);
  await ledger.settleInbox(
    items.map(({ jobId }) => jobId),
    [],
  );
}

/** Every statement on effects, for some leases. */
async function doEffects(
  ledger: Ledger,
  leases: readonly { jobId: string; sessionId: string; fencingToken: bigint }[],
): Promise<void> {
  const items = leases.map(({ jobId, sessionId, fencingToken }) => ({
    tenantId: 1,
    subject: "",
    name: { jobId, scope: null, key: "mail" },
    lease: { sessionId, fencingToken },
    effectToken: 1n,
    ttlMs: 60_000,
  }));
  const claims = items.map((item) => ({ ...item, requestId: "r" }));
  for (const claim of await ledger.claimEffects(claims, patienceMs))
    expect(claim).toMatchObject({ type: "acquired" });
  await ledger.claimEffects(claims, patienceMs);
  await ledger.renewEffects(items, patienceMs);
  await ledger.giveBackEffects(
    items.slice(0, 1).map((item) => ({ ...item, reason: "no" })),
    patienceMs,
  );
  const taken = items.slice(1, 2).map((item) => ({ ...item, lease: null, effectToken: null, reason: "no" }));
  for (const answer of await ledger.giveBackEffects(taken, patienceMs))
    expect(answer).toEqual({ type: "written", isExisting: false });
  await ledger.completeEffects(
    items.map((item) => ({ ...item, result: Buffer.from("sent"), contentType: "" })),
    patienceMs,
  );
  const { name } = items[2] as (typeof items)[number];
  expect(await ledger.readEffect(1, name)).toMatchObject({ state: 3 });
  expect(await ledger.listEffects(1, name, "", 10)).toHaveLength(1);
  expect((await ledger.readNotes(1, name.jobId)).notes).toHaveLength(1);
}

/** Every statement by which jobs wait and are woken, for some leases. */
async function doWaits(
  ledger: Ledger,
  leases: readonly { jobId: string; sessionId: string; fencingToken: bigint }[],
): Promise<void> {
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const waits = leases.map((lease, at) =>
    waitItem(lease.sessionId, lease, channel.channelId, { timeoutMs: at % 2 === 0 ? 86_400_000 : 0 }),
  );
  for (const answer of await Promise.all(waits.map((wait) => ledger.waitForSignal(wait))))
    expect(answer).toMatchObject({ type: "suspended" });
  await ledger.fireWaitTimeouts(10);
  await publish();
  await publish();
  for (const answer of await Promise.all(waits.map((wait) => ledger.waitForSignal(wait))))
    expect(answer).toMatchObject({ isRepeated: true });
  expect(await ledger.readWaking()).toEqual([]);
  await ledger.wakeOn([{ channelId: channel.channelId, partition: 0 }]);
}

/** Fills every table that a hot statement touches; nothing is analyzed, as in the first minutes of a busy day. */
async function load(): Promise<string[]> {
  const id = "(left(uuid_floor(now())::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid";
  const ids = await room.sql<{ id: string }>(
    `with loaded as (
       insert into job (id, tenant_id, lane_id, ready_key, state, attempts_max, submitted_at, ready_at, page_at,
         page_writer, page_batch, payload)
       select ${id}, 1, $1, n, 3, 5, now(), now(), now(), 1, 1, 'hello' from generate_series(1, $2) n
       returning id
     )
     select id from loaded limit 2000`,
    [room.lane.laneId, loadedJobs],
  );
  const many = "from generate_series(1, 30000) n";
  await room.sql(`insert into idempotency select 1, 'loaded-' || n, gen_random_uuid(), '' ${many}`);
  await room.sql(`insert into unique_key select 1, 'loaded-' || n, gen_random_uuid() ${many}`);
  await room.sql(`insert into checkpoint select gen_random_uuid(), 1, 1, '' ${many}`);
  await room.sql(
    `insert into effect (tenant_id, job_id, scope, key, state, subject, request_id, expires_at)
     select 1, gen_random_uuid(), '', 'mail', 2, '', 'r', now() ${many}`,
  );
  await room.sql(`insert into job_summary select gen_random_uuid(), 1 ${many}`);
  await room.sql(`insert into job_note select gen_random_uuid(), 1, 1, 1, 'mail', 0 ${many}`);
  await room.sql(
    `insert into inbox (job_id, tenant_id, submitted_by, submitted_at, kind, product, queue, priority, capabilities,
       labels, idempotency_key, refused_at, refusal, content_type, payload)
     select gen_random_uuid(), 1, 'shop', now(), 'greet', 'p', 'q', 2, '{}', '{}', '', now(), '{}', '', '' ${many}`,
  );
  await room.sql(`insert into delivery select gen_random_uuid(), 1, '{}' ${many}`);
  await room.sql(
    `with made as (
       insert into channel (tenant_id, owner_type, owner, name, partitions, max_age_ms, max_bytes, redeliveries_max)
       select 1, 3, 'loaded', 'n-' || n, 1, 1000, 1000, 5 ${many} returning channel_id
     ), heads as (
       insert into channel_partition (channel_id, partition, max_bytes, is_awaited) select channel_id, 0, 1000, true from made
     )
     insert into suspended (job_id, tenant_id, channel_id, partition, after_sequence)
     select gen_random_uuid(), 1, channel_id, 0, 0 from made`,
  );
  await room.sql(`insert into wait_timeout select gen_random_uuid(), n, 0, 0 ${many}`);
  await room.sql(
    `insert into timer select 1 + n % 3, now() + interval '1 day', gen_random_uuid(), 0 ${many}`,
  );
  return ids.map((row) => row.id);
}

interface Reads {
  readonly table: string;
  readonly seq: number;
  readonly index: number;
}

/** Rows that scans and indexes of each table have read since the last reset. Backends tell when they end. */
async function readsPerTable(): Promise<Reads[]> {
  return room.sql<Reads>(
    `select regexp_replace(t.relname, '_\\d+$', '') as "table", sum(t.seq_tup_read)::integer as seq,
       sum((select coalesce(sum(i.idx_tup_read), 0) from pg_stat_user_indexes i where i.relid = t.relid))::integer as index
     from pg_stat_user_tables t where t.schemaname = 'holdfast' group by 1 order by 1`,
  );
}

describe("with 200,000 jobs waiting", () => {
  it.each([
    ["it was prepared on an empty one", false],
    ["all were counted while nearly empty", true],
  ])("no hot statement scans a table or walks an index, also when %s", async (_, isCounted) => {
    const early = await room.openLedger();
    const late = await room.openLedger();
    const prepare = async () => {
      await liveThroughOn(early, await submitMany(room, 5, {}, early));
      await liveThroughOn(early, [...(await submitMany(room, 5, {}, early)), await submitYesterday(early)]);
    };
    await prepare();
    if (isCounted) {
      await room.sql("vacuum analyze");
      await prepare();
    }
    const ids = await load();
    const yesterdays = [await submitYesterday(early), await submitYesterday(late)] as const;
    await room.sql("select pg_stat_reset()");

    await liveThroughOn(early, ids.slice(0, 500));
    await liveThroughOn(early, [...ids.slice(500, 1_000), yesterdays[0]]);
    await liveThroughOn(late, ids.slice(1_000, 1_500));
    await liveThroughOn(late, [...ids.slice(1_500), yesterdays[1]]);
    await early.stop();
    await late.stop();

    await expect
      .poll(
        async () =>
          (
            await room.sql<{ updates: number }>(
              "select sum(n_tup_upd)::integer as updates from pg_stat_user_tables where relname like 'job\\_2%'",
            )
          )[0]?.updates,
      )
      .toBeGreaterThanOrEqual(7_800);
    const reads = await readsPerTable();
    const largeTables = reads.filter(({ table }) =>
      [
        ...["job", "idempotency", "checkpoint", "delivery", "timer"],
        ...["effect", "job_summary", "job_note", "inbox", "unique_key"],
        ...["suspended", "wait_timeout", "channel_partition"],
      ].includes(table),
    );
    expect(largeTables).toHaveLength(13);
    for (const { table, seq, index } of largeTables) {
      expect({ table, seq }).toEqual({ table, seq: 0 });
      // About ten statements touch each of the 2,000 jobs; a walk through any of these tables would read far more.
      expect({ table, isByKey: index < 50_000 }).toEqual({ table, isByKey: true });
    }
  });

  it("deliveries that are settled are found by key, also when they were counted as none", async () => {
    const ledger = await room.openLedger();
    const sessionId = await openSession(room, 30_000, ledger);
    await room.sql("delete from delivery");
    await room.sql("vacuum analyze delivery");
    await ledger.settleDeliveries([{ sessionId, delivery: 1 }]);
    await room.sql("insert into delivery select $1, n, '{}' from generate_series(1, 30000) n", [sessionId]);
    await room.sql("select pg_stat_reset()");
    const settled = Array.from({ length: 2_000 }, (_, n) => ({ sessionId, delivery: n + 1 }));
    await ledger.settleDeliveries(settled);
    await ledger.stop();

    const deliveries = async () => (await readsPerTable()).find(({ table }) => table === "delivery");
    await expect.poll(async () => (await deliveries())?.index).toBeGreaterThan(0);
    expect((await deliveries())?.index).toBeLessThan(10_000);
    const left = await room.sql<{ count: number }>("select count(*)::integer as count from delivery");
    expect(left[0]?.count).toBe(28_000);
  });
});
