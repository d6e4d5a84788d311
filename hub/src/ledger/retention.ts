import pg from "pg";
import { OwnerType } from "../domain/channel.js";
import { noJob } from "./effect-items.js";
import { heardByTheQuery } from "./migrate.js";

/** Of a partition of jobs that another took the place of. */
const replacedSuffix = "_replaced";

/** Whoever waits for an exclusive lock keeps all hubs waiting behind it: shorter than they bear. */
const lockPatience = "3s";

export interface RetentionOptions {
  readonly databaseUrl: string;
  /** Days of history to keep, at least 1: partitions wholly older are dropped. */
  readonly keepDays: number;
  /** Drop pages of events that a sink has not got yet; its forwarder then announces what is missing. */
  readonly dropUnforwarded: boolean;
  /** Say what would be done, and do nothing. */
  readonly dryRun: boolean;
}

export interface RetentionReport {
  /** Partitions dropped, with all their rows. */
  readonly dropped: readonly string[];
  /** Old partitions of jobs that held open jobs: those stayed, everything else in them was dropped. */
  readonly kept: readonly { readonly partition: string; readonly openJobs: number }[];
  /** Old partitions of events that stayed whole, since a sink has not got all their pages. */
  readonly unforwarded: readonly { readonly partition: string; readonly pages: number }[];
}

/**
 * Drops history that is older than asked for, by partitions. Open jobs are never dropped: a partition that holds
 * some is replaced by one that holds only them. Events of kept jobs may go with their day; the history of such a
 * job then begins later. Idempotency keys, checkpoints, effects, notes, places in runs and empty channels of dropped
 * jobs go after them (what a run that broke off leaves of that, the next one takes), and so do effects of no job that
 * nobody has touched since, and sessions and backfills that ended before. Pages that a sink has not got stay, unless they
 * are to go: then what is missing is written down for the forwarder to announce. Of a run, jobs that have ended go with
 * their day, though others of it may be open.
 */
export async function runRetention(options: RetentionOptions): Promise<RetentionReport> {
  if (!Number.isInteger(options.keepDays) || options.keepDays < 1)
    throw new RangeError(`keepDays must be a whole number of at least 1, not ${options.keepDays}.`);
  const client = new pg.Client({
    connectionString: options.databaseUrl,
    application_name: "holdfast-retention",
  });
  client.on("error", heardByTheQuery);
  await client.connect();
  try {
    await client.query(`set search_path = holdfast; set lock_timeout = '${lockPatience}'`);
    const cutoff = await client.query<{ day: string }>(
      "select to_char((now() at time zone 'UTC')::date - $1::integer, 'YYYYMMDD') as day",
      [options.keepDays],
    );
    const day = cutoff.rows[0]?.day ?? "";
    const dropped: string[] = [];
    const kept: { partition: string; openJobs: number }[] = [];
    if (!options.dryRun)
      for (const replaced of await replacedPartitions(client)) await dropReplaced(client, replaced);
    for (const partition of await partitionsBefore(client, "job", day)) {
      const open = options.dryRun ? await countOpen(client, partition) : await dropEnded(client, partition);
      if (open > 0) kept.push({ partition, openJobs: open });
      else dropped.push(partition);
    }
    const unforwarded: { partition: string; pages: number }[] = [];
    for (const partition of await partitionsBefore(client, "event_page", day)) {
      const pages = options.dropUnforwarded ? 0 : await countUnforwarded(client, partition);
      if (pages > 0) unforwarded.push({ partition, pages });
      else dropped.push(partition);
      if (pages === 0 && !options.dryRun) await dropPages(client, partition);
    }
    if (!options.dryRun) {
      await dropOldEffects(client, options.keepDays);
      await dropOldSessions(client, options.keepDays);
      await dropEmptyRuns(client);
      await dropEmptyReplays(client);
      await dropEmptyChannels(client);
      await dropOldBackfills(client, options.keepDays);
    }
    return { dropped, kept, unforwarded };
  } finally {
    await client.end();
  }
}

/** Effects of scopes have no job to go with: a key is remembered for as long as history is kept. */
async function dropOldEffects(client: pg.Client, keepDays: number): Promise<void> {
  await client.query(
    `delete from effect where job_id = ${noJob}
       and greatest(claimed_at, expires_at, completed_at, abandoned_at) < now() - make_interval(days => $1)`,
    [keepDays],
  );
}

/** There is one for each time that a worker came; those whose leases have not all gone back stay. */
async function dropOldSessions(client: pg.Client, keepDays: number): Promise<void> {
  await client.query(
    `delete from session s
     where s.state <> 1 and s.ended_at < now() - make_interval(days => $1)
       and not exists (select from delivery d where d.session_id = s.session_id)`,
    [keepDays],
  );
}

/** Backfills that ended before, with their windows; what those did stays known. */
async function dropOldBackfills(client: pg.Client, keepDays: number): Promise<void> {
  await client.query(
    `delete from backfill b
     where b.ended_at < now() - make_interval(days => $1) and b.cancel_grace_ms is null
       and not exists (select from backfill_window w where w.backfill_id = b.backfill_id and w.state = 2)`,
    [keepDays],
  );
}

/** A run goes with the last of its jobs. */
async function dropEmptyRuns(client: pg.Client): Promise<void> {
  await client.query("delete from run r where not exists (select from run_node n where n.run_id = r.run_id)");
  await client.query(
    "delete from run_edge e where not exists (select from run_node n where n.job_id = e.dependent_id)",
  );
}

/** What was compared goes with the last of a replay's jobs. */
async function dropEmptyReplays(client: pg.Client): Promise<void> {
  await client.query(
    `delete from replay r where not exists (
       select from replay_job p join job j on j.id = p.job_id where p.replay_id = r.replay_id)`,
  );
  await client.query(
    "delete from replay_job p where not exists (select from replay r where r.replay_id = p.replay_id)",
  );
}

/** The channels of a job or run go after it, once their own policy and their cursors have let go of all signals (D15). */
async function dropEmptyChannels(client: pg.Client): Promise<void> {
  await client.query(
    `delete from channel c where c.owner_type <> ${OwnerType.Name}
       and not exists (select from job j where j.id = c.owner::uuid)
       and not exists (select from signal_page p where p.channel_id = c.channel_id)`,
  );
}

async function partitionsBefore(client: pg.Client, parent: string, day: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = ('holdfast.' || $1)::regclass and c.relname < $1 || '_' || $2 order by 1`,
    [parent, day],
  );
  return rows.map((row) => row.name);
}

/** Pages of a partition that some sink has not got, by sink and writer. */
const unforwardedPages = (partition: string) => `
  select s.sink, p.writer_id, greatest(min(p.batch), coalesce(max(c.forwarded_through), 0) + 1) as first_batch,
    max(p.batch) as last_batch, count(*) as pages
  from forward_sink s
  cross join ${partition} p
  left join forward_cursor c on c.sink = s.sink and c.writer_id = p.writer_id
  where case when c.writer_id is null then p.writer_id >= s.first_writer
    else not c.is_done and p.batch > c.forwarded_through end
  group by s.sink, p.writer_id`;

async function countUnforwarded(client: pg.Client, partition: string): Promise<number> {
  const { rows } = await client.query<{ pages: number }>(
    `select coalesce(sum(pages), 0)::integer as pages
     from (${unforwardedPages(client.escapeIdentifier(partition))}) u`,
  );
  return rows[0]?.pages ?? 0;
}

/** One transaction: the pages are there, or what of them no sink got is written down. */
async function dropPages(client: pg.Client, partition: string): Promise<void> {
  const name = client.escapeIdentifier(partition);
  await client.query("begin");
  try {
    // The parent first, as everybody who reads or writes pages has it: else each may wait for the other.
    await client.query("lock table only event_page in access exclusive mode");
    await client.query(`lock table ${name} in access exclusive mode`);
    await client.query(
      `insert into forward_gap (sink, writer_id, first_batch, last_batch)
       select sink, writer_id, first_batch, last_batch from (${unforwardedPages(name)}) u on conflict do nothing`,
    );
    await client.query(`drop table ${name}`);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    throw error;
  }
}

async function countOpen(client: pg.Client, partition: string): Promise<number> {
  const { rows } = await client.query<{ open: number }>(
    `select count(*)::integer as open from ${client.escapeIdentifier(partition)} where state < 6`,
  );
  return rows[0]?.open ?? 0;
}

/** Answers how many open jobs there were. What belongs to the others goes after them: nothing does without its job. */
async function dropEnded(client: pg.Client, partition: string): Promise<number> {
  const open = await replacePartition(client, partition);
  await dropReplaced(client, partition + replacedSuffix);
  return open;
}

/**
 * One transaction: what remains visible is the partition as it was, or as it shall be. Open jobs are counted once
 * it is detached, when nothing can change them any more. Answers how many there were. All jobs of the ledger wait
 * meanwhile: only what must not outlive its job for a moment goes here.
 */
async function replacePartition(client: pg.Client, partition: string): Promise<number> {
  const name = client.escapeIdentifier(partition);
  const replaced = client.escapeIdentifier(partition + replacedSuffix);
  await client.query("begin");
  try {
    const bounds = await client.query<{ bound: string }>(
      "select pg_get_expr(relpartbound, oid) as bound from pg_class where oid = ('holdfast.' || $1)::regclass",
      [partition],
    );
    await client.query(`alter table job detach partition ${name}`);
    await client.query(`alter table ${name} rename to ${replaced}`);
    const open = await countOpen(client, partition + replacedSuffix);
    if (open > 0) {
      await client.query(
        `create table ${name} partition of job ${bounds.rows[0]?.bound} with (fillfactor = 30)`,
      );
      await client.query(`insert into ${name} select * from ${replaced} where state < 6`);
    }
    for (const table of ["unique_key", "dead_letter"])
      await client.query(`delete from ${table} b using ${replaced} j where b.job_id = j.id and j.state >= 6`);
    await client.query("commit");
    return open;
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    throw error;
  }
}

/** Replaced partitions that an earlier run did not come to drop. */
async function replacedPartitions(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname as name from pg_class
     where relnamespace = 'holdfast'::regnamespace and relkind = 'r' and relname ~ $1 order by 1`,
    [`^job_\\d{8}${replacedSuffix}$`],
  );
  return rows.map((row) => row.name);
}

/** Drops a replaced partition, after all that belonged to its jobs; the open ones live on in the one in its place. */
async function dropReplaced(client: pg.Client, replaced: string): Promise<void> {
  const name = client.escapeIdentifier(replaced);
  const jobs = `select tenant_id, id from ${name} where state >= 6`;
  for (const table of [
    "idempotency",
    "checkpoint",
    "job_note",
    "job_summary",
    "run_node",
    "run_edge",
    "compensation",
    "wait_timeout",
  ])
    await client.query(`delete from ${table} b using (${jobs}) j where b.job_id = j.id`);
  // What is done stays known, whatever becomes of the jobs.
  await client.query(`delete from event_window w using (${jobs}) j where w.job_id = j.id and w.state <> 2`);
  await client.query(
    `delete from effect e using (${jobs}) j where e.tenant_id = j.tenant_id and e.job_id = j.id`,
  );
  await client.query(`drop table ${name}`);
}
