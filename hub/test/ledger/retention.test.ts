import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UniquePolicy } from "../../src/domain/job-spec.js";
import { firstUuid } from "../../src/domain/uuid.js";
import { runRetention } from "../../src/ledger/retention.js";
import { claimOne, done, openSession, reportItem, submitItem, submitOne } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";
import { openChannel } from "../harness/wait-acts.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
  for (const age of [40, 41]) await makeOldDay(age);
});
afterAll(() => room.close());

const names = (age: number) => [partition("job", age), partition("event_page", age)];

function partition(parent: string, age: number): string {
  const day = new Date(Date.now() - age * 86_400_000).toISOString().slice(0, 10).replaceAll("-", "");
  return `${parent}_${day}`;
}

/** A day of the past, made as the ledger would have made it then. */
async function makeOldDay(age: number): Promise<void> {
  await room.sql(
    `do $$ declare day timestamptz := (date_trunc('day', now() at time zone 'UTC') - interval '${age} days') at time zone 'UTC';
     begin
       execute format('create table %I partition of job for values from (%L) to (%L) with (fillfactor = 30)',
         '${partition("job", age)}', uuid_floor(day), uuid_floor(day + interval '1 day'));
       execute format('create table %I partition of event_page for values from (%L) to (%L)',
         '${partition("event_page", age)}', day, day + interval '1 day');
     end $$`,
  );
  await room.sql(
    `insert into event_page
     select now() - make_interval(days => $1), 999, $1, array[row(uuid_floor(now()), 1, 3, 1, 0, 0, null, null, null, null, null)::event_item]`,
    [age],
  );
}

/** A job submitted so many days ago, with a key and a checkpoint. */
async function makeOldJob(age: number, state: number, serial: number): Promise<string> {
  const [row] = await room.sql<{ id: string }>(
    `with old as (
       insert into job (id, tenant_id, lane_id, ready_key, state, attempts_max, submitted_at, ready_at, page_at,
         page_writer, page_batch, payload, finished_at)
       select (left(uuid_floor(now() - make_interval(days => $1))::text, 14) || '7000-8000-' || lpad($3::bigint::text, 12, '0'))::uuid,
         1, $4, $3::bigint, $2::smallint, 5, now(), now(), now() - make_interval(days => $1), 999, $1, 'old',
         case when $2::smallint >= 6 then now() end
       returning id
     ), keyed as (
       insert into idempotency select 1, 'old-' || id, id, '' from old
     ), saved as (
       insert into checkpoint select id, 1, 1, 'state' from old
     )
     select id from old`,
    [age, state, serial, room.lane.laneId],
  );
  return row?.id as string;
}

/** A completed effect that nobody has touched for so many days. */
const makeEffect = (jobId: string, scope: string, key: string, age: number) =>
  room.sql(
    `insert into effect (tenant_id, job_id, scope, key, state, subject, request_id, claimed_at, expires_at,
       completed_at, fingerprint, result)
     select 1, $1, $2, $3, 3, '', 'r', at, at, at, '', '' from (select now() - make_interval(days => $4) as at) a`,
    [jobId, scope, key, age],
  );

const count = async (table: string, column: string, ids: readonly string[]) =>
  (await room.sql(`select 1 from ${table} where ${column} = any($1)`, [ids])).length;

async function everything(ids: readonly string[]) {
  return {
    jobs: await count("job", "id", ids),
    keys: await count("idempotency", "job_id", ids),
    checkpoints: await count("checkpoint", "job_id", ids),
  };
}

const retain = (dryRun: boolean) =>
  runRetention({ databaseUrl: room.url, keepDays: 30, dryRun, dropUnforwarded: false });

describe("retention", () => {
  it("says in a dry run what it would do, and changes nothing; then does that and nothing else", async () => {
    const ended = [await makeOldJob(41, 6, 1), await makeOldJob(41, 7, 2), await makeOldJob(40, 8, 3)];
    const open = [await makeOldJob(40, 3, 4), await makeOldJob(40, 2, 5)];
    const recent = await submitOne(room, { idempotencyKey: "recent" });
    const expected = {
      dropped: [partition("job", 41), partition("event_page", 41), partition("event_page", 40)],
      kept: [{ partition: partition("job", 40), openJobs: 2 }],
      unforwarded: [],
    };

    expect(await retain(true)).toEqual(expected);
    expect(await everything([...ended, ...open])).toEqual({ jobs: 5, keys: 5, checkpoints: 5 });

    expect(await retain(false)).toEqual(expected);
    expect(await everything(ended)).toEqual({ jobs: 0, keys: 0, checkpoints: 0 });
    expect(await everything(open)).toEqual({ jobs: 2, keys: 2, checkpoints: 2 });
    expect(await count("job", "id", [recent])).toBe(1);
    const again = await room.ledger.submit([submitItem(room, { idempotencyKey: "recent" })]);
    expect(again).toMatchObject([{ type: "existing", jobId: recent }]);
    const left = await room.sql<{ name: string }>(
      "select relname as name from pg_class where relname = any($1)",
      [[...names(40), ...names(41)]],
    );
    expect(left).toEqual([{ name: partition("job", 40) }]);
  });

  it("keeps open jobs workable: an old one is claimed and ends as if it were new (D3)", async () => {
    const jobId = await makeOldJob(40, 3, 6);
    await retain(false);
    const sessionId = await openSession(room);

    const lease = await claimOne(room.ledger, sessionId, jobId);
    const [verdict] = await room.ledger.report([reportItem(sessionId, lease, done)]);

    expect(verdict).toMatchObject({ type: "committed" });
    expect((await room.ledger.readHistory(1, jobId, 0, 10)).map((event) => event.revision)).toEqual([2, 3]);
  });

  it("lets a key that went with its job be used anew (D2)", async () => {
    const jobId = await makeOldJob(40, 6, 7);
    await room.sql("update idempotency set key = 'reused' where job_id = $1", [jobId]);
    await retain(false);

    const again = await submitOne(room, { idempotencyKey: "reused" });

    expect(await count("job", "id", [again])).toBe(1);
  });

  it("keeps what was compared of a replay until the last of its jobs goes", async () => {
    const original = "01980000-0000-7000-8000-000000000000";
    const replays = [await makeOldJob(40, 6, 21), await makeOldJob(40, 6, 22)];
    const recent = await submitOne(room);
    for (const [at, replayId] of replays.entries())
      await room.sql("insert into replay values ($1, 1, $2, $3, true, 2, false, '', '')", [
        replayId,
        `old-${at}`,
        original,
      ]);
    for (const [replayId, jobId] of [
      [replays[0], replays[0]],
      [replays[0], recent],
      [replays[1], replays[1]],
    ])
      await room.sql("insert into replay_job values ($1, $2, $2, $2, 6, '')", [replayId, jobId]);

    await retain(false);

    const left = await room.ledger.readReplayedJobs(replays[0] as string, firstUuid, 10);
    expect(left.jobs.map(({ jobId, state }) => [jobId, state])).toEqual([
      [replays[0], null],
      [recent, 3],
    ]);
    expect(await room.ledger.readReplay(1, replays[1] as string)).toBeNull();
    expect(await count("replay_job", "replay_id", replays)).toBe(2);
  });

  it("gives up, and leaves everything as it was, when it cannot have the table to itself", async () => {
    const [open, ended] = [await makeOldJob(40, 3, 8), await makeOldJob(40, 6, 81)];
    await makeEffect(ended, "", "mail", 40);
    const reader = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-reader" });
    await reader.connect();
    await reader.query("begin; select count(*) from holdfast.job");

    await expect(retain(false)).rejects.toMatchObject({ code: "55P03" });
    await reader.end();

    expect(await everything([open, ended])).toEqual({ jobs: 2, keys: 2, checkpoints: 2 });
    expect(await count("effect", "job_id", [ended])).toBe(1);
    await retain(false);
    expect(await everything([open, ended])).toEqual({ jobs: 1, keys: 1, checkpoints: 1 });
    expect(await count("effect", "job_id", [ended])).toBe(0);
  });

  it("that ended half way is finished by the next: no job stays without its key, and no key for good (D2)", async () => {
    const [open, ended] = [await makeOldJob(40, 3, 82), await makeOldJob(40, 6, 83)];
    await room.sql("insert into unique_key (tenant_id, key, job_id) values (1, 'left', $1)", [ended]);
    const holder = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-lock" });
    await holder.connect();
    await holder.query("begin; select from holdfast.idempotency for update");

    await expect(retain(false)).rejects.toMatchObject({ code: "55P03" });
    await holder.end();

    expect(await everything([ended])).toEqual({ jobs: 0, keys: 1, checkpoints: 1 });
    const unique = { key: "left", policy: UniquePolicy.Existing };
    const next = submitItem(room, { options: { unique } });
    expect(await room.ledger.submit([next])).toMatchObject([{ type: "accepted" }]);
    await retain(false);
    expect(await everything([ended])).toEqual({ jobs: 0, keys: 0, checkpoints: 0 });
    expect(await everything([open])).toEqual({ jobs: 1, keys: 1, checkpoints: 1 });
    expect(await count("unique_key", "job_id", [next.jobId])).toBe(1);
    expect(await room.sql("select from pg_class where relname like 'job\\_%\\_replaced'")).toEqual([]);
  });

  it("drops channels of jobs that are gone, once they are empty, and no other (D15)", async () => {
    const [empty, full] = [await makeOldJob(40, 6, 20), await makeOldJob(40, 6, 21)];
    const recent = await submitOne(room);
    for (const jobId of [empty, full, recent]) await openChannel(room.ledger, jobId, "go");
    await room.sql(
      `insert into signal_page (channel_id, partition, first_sequence, last_sequence, at, producer_id, first_number,
         last_number, body) select channel_id, 0, 1, 1, now(), 0, 1, 1, '' from channel where owner = $1`,
      [full],
    );
    await room.sql("insert into wait_timeout select $1, 1, 0, 0", [empty]);

    await retain(false);

    expect(await count("channel", "owner", [empty])).toBe(0);
    expect(await count("channel", "owner", [full, recent])).toBe(2);
    expect(await count("wait_timeout", "job_id", [empty])).toBe(0);
  });

  it("drops effects and notes with their jobs, and effects of scopes that nobody has touched since (D16)", async () => {
    const [ended, open] = [await makeOldJob(40, 6, 9), await makeOldJob(40, 3, 10)];
    for (const jobId of [ended, open]) {
      await makeEffect(jobId, "", "mail", 40);
      await room.sql("insert into job_summary values ($1, 1)", [jobId]);
      await room.sql("insert into job_note values ($1, 0, 1, 1, 'mail', 0)", [jobId]);
    }
    await makeEffect(firstUuid, "shop", "old", 31);
    await makeEffect(firstUuid, "shop", "recent", 29);

    await retain(false);

    for (const table of ["effect", "job_summary", "job_note"]) {
      expect({ table, left: await count(table, "job_id", [ended]) }).toEqual({ table, left: 0 });
      expect({ table, left: await count(table, "job_id", [open]) }).toEqual({ table, left: 1 });
    }
    const shop = await room.ledger.listEffects(1, { jobId: null, scope: "shop" }, "", 10);
    expect(shop.map(({ name }) => name.key)).toEqual(["recent"]);
  });

  it("forgets sessions that ended before, unless leases of theirs have not gone back yet", async () => {
    const [recent, old, holding] = [
      await openSession(room),
      await openSession(room),
      await openSession(room),
    ];
    await room.sql(
      "update session set state = 3, ended_at = now() - interval '29 days' where session_id = $1",
      [recent],
    );
    await room.sql(
      "update session set state = 2, ended_at = now() - interval '31 days' where session_id = any($1)",
      [[old, holding]],
    );
    await room.sql("insert into delivery values ($1, 1, '{}')", [holding]);

    await retain(false);

    expect(await count("session", "session_id", [recent, holding])).toBe(2);
    expect(await count("session", "session_id", [old])).toBe(0);
  });

  it("forgets windows of dead letters and ended backfills, and never what is done", async () => {
    await makeOldDay(46);
    const jobs = await Promise.all([6, 7, 3].map((state, at) => makeOldJob(46, state, 460 + at)));
    await room.sql(
      "insert into event_source (tenant_id, source, origin_at) values (1, 'old', '2026-01-01Z')",
    );
    await room.sql(
      `insert into event_window
       select 1, 'old', '2026-01-01Z'::timestamptz + n * interval '1 hour', '2026-01-01Z'::timestamptz + (n + 1) * interval '1 hour',
         job_id, case n when 0 then 2 when 1 then 3 else 1 end
       from unnest($1::uuid[]) with ordinality as j (job_id, m) cross join lateral (select m - 1 as n) w`,
      [jobs],
    );
    await room.sql(
      `with b as (
         insert into backfill (backfill_id, tenant_id, source, from_at, to_at, step_ms, in_flight_max, job, payload,
           created_by, state, ended_at)
         select new_job_id(), 1, 'old', '2026-01-01Z', '2026-01-02Z', 3600000, 1, '{}', '', '', 4, now() - make_interval(days => age)
         from unnest('{29,31}'::integer[]) as age returning *)
       insert into backfill_window select backfill_id, from_at, to_at, 5, null from b`,
    );

    await runRetention({ databaseUrl: room.url, keepDays: 30, dropUnforwarded: false, dryRun: false });

    const left = await room.sql("select job_id, state from event_window order by state");
    expect(left).toEqual([
      { job_id: jobs[2], state: 1 },
      { job_id: jobs[0], state: 2 },
    ]);
    expect((await room.ledger.readWatermarks(1, "old", "", 1))[0]?.watermarkMs).toBe(
      Date.parse("2026-01-01T01:00Z"),
    );
    expect(await room.sql("select from backfill")).toHaveLength(1);
    expect(await room.sql("select from backfill_window")).toHaveLength(1);
  });

  it("waits for a read of events that has begun, and takes nothing that such a read comes to", async () => {
    await makeOldDay(42);
    const reader = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-reader" });
    await reader.connect();
    await reader.query("begin; lock table only holdfast.event_page in access share mode");

    const retained = retain(false);
    await until(
      async () => (await room.sql("select from pg_locks where not granted")).length > 0,
      "retention waits",
    );
    await reader.query(`select from holdfast.${partition("event_page", 42)}`);
    await reader.query("commit");

    expect((await retained).dropped).toContain(partition("event_page", 42));
    await reader.end();
  });

  it("is content with nothing to drop, and refuses to keep less than a day", async () => {
    await retain(false);

    expect((await retain(false)).dropped).toEqual([]);
    for (const keepDays of [0, -1, 1.5, Number.NaN])
      await expect(
        runRetention({ databaseUrl: room.url, keepDays, dryRun: true, dropUnforwarded: false }),
      ).rejects.toThrow(RangeError);
  });

  it("takes old jobs out of their runs, and a run away with the last of them", async () => {
    await makeOldDay(42);
    const [gone, first, second] = [
      await makeOldJob(42, 6, 421),
      await makeOldJob(42, 6, 422),
      await submitOne(room),
    ];
    for (const [runId, jobId] of [
      [gone, gone],
      [first, first],
      [first, second],
    ])
      await room.sql(
        `with r as (insert into run (run_id, tenant_id, jobs) values ($1, 1, 1) on conflict do nothing)
         insert into run_node (job_id, run_id, is_child, waits_for) values ($2, $1, false, 0)`,
        [runId, jobId],
      );
    await room.sql("insert into run_edge values ($1, $2, true)", [first, second]);

    await runRetention({ databaseUrl: room.url, keepDays: 30, dropUnforwarded: true, dryRun: false });

    expect(await room.sql("select run_id from run")).toEqual([{ run_id: first }]);
    expect(await room.sql("select job_id from run_node")).toEqual([{ job_id: second }]);
    expect(await room.sql("select from run_edge")).toEqual([]);
  });
});
