import { readdir, readFile } from "node:fs/promises";
import pg from "pg";

/** A connection that is lost fails the statement under way, and the next; nobody listening would end the process. */
export const heardByTheQuery = () => undefined;

const migrationsFolder = new URL("../../migrations/", import.meta.url);

/** Days of partitions made ahead of time. */
export const partitionDaysAhead = 3;

/**
 * Brings the ledger of a database to the newest migration: each file of hub/migrations in order, one transaction
 * each, under an advisory lock so that hubs starting together do it once. Answers the newest number.
 *
 * @throws when the database is newer than this program, is older than PostgreSQL 15, or a migration fails
 */
export async function migrate(databaseUrl: string): Promise<number> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: "holdfast-migrate",
    connectionTimeoutMillis: 30_000,
  });
  client.on("error", heardByTheQuery);
  await client.connect();
  try {
    const version = await client.query<{ v: string }>("select current_setting('server_version_num') as v");
    if (Number(version.rows[0]?.v) < 150_000)
      throw new Error("Holdfast needs PostgreSQL 15 or newer; the server is older. Upgrade it first.");
    await client.query("select pg_advisory_lock(hashtext('holdfast.migrate'))");
    await client.query("create schema if not exists holdfast");
    await client.query("set search_path = holdfast");
    await client.query(
      "create table if not exists migration (number integer primary key, name text not null, applied_at timestamptz not null default now())",
    );
    const applied = await client.query<{ number: number }>("select number from migration order by number");
    const known = await listMigrations();
    const newest = known.at(-1)?.number ?? 0;
    const ahead = applied.rows.find((row) => row.number > newest);
    if (ahead)
      throw new Error(
        `The ledger is at migration ${ahead.number}, this program knows ${newest}. Run a newer Holdfast.`,
      );
    const done = new Set(applied.rows.map((row) => row.number));
    for (const migration of known) {
      if (!done.has(migration.number)) await applyMigration(client, migration);
    }
    await client.query("select ensure_partitions($1)", [partitionDaysAhead]);
    return newest;
  } finally {
    await client.end();
  }
}

interface Migration {
  readonly number: number;
  readonly name: string;
}

async function listMigrations(): Promise<Migration[]> {
  const names = (await readdir(migrationsFolder)).filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name));
  return names.sort().map((name) => ({ number: Number(name.slice(0, 4)), name }));
}

async function applyMigration(client: pg.Client, { number, name }: Migration): Promise<void> {
  const text = await readFile(new URL(name, migrationsFolder), "utf8");
  try {
    await client.query("begin");
    await client.query(text);
    await client.query("insert into migration (number, name) values ($1, $2)", [number, name]);
    await client.query("commit");
  } catch (cause) {
    await client.query("rollback").catch(() => undefined);
    throw new Error(`Migration ${name} failed; the ledger is unchanged.`, { cause });
  }
}
