import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { inject } from "vitest";
import type { EmbeddedPostgres } from "../../src/ledger/embedded-postgres.js";
import { migrate } from "../../src/ledger/migrate.js";
import { startServerIn } from "./postgres-server.js";

export interface TestDatabase {
  url: string;
  /** Removes the database. Throws, after removing it, when somebody still held a connection to it. */
  drop(): Promise<void>;
}

/** Session-level lock of whoever makes the template: "tmpl" in ASCII. */
const templateKey = 0x746d706c;
const leakGraceMs = 2_000;

/** A database with the ledger's newest migration and nothing in it: one for each test file. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `${inject("databasePrefix")}${randomUUID().slice(0, 8)}`;
  await asSuperuser(async (client) => {
    const template = await ensureTemplate(client);
    await client.query(`create database ${name} template ${template}`);
  });
  return { url: urlOf(name), drop: () => asSuperuser((client) => dropDatabase(client, name)) };
}

/** A server that a test may restart or kill without disturbing the others. The run ends it if the test does not. */
export async function startOwnPostgres(version: "18" | "15" = "18"): Promise<EmbeddedPostgres> {
  return await startServerIn(inject("postgresRunFolder"), version);
}

/** The oldest version that Holdfast supports. */
export async function startPostgres15(): Promise<EmbeddedPostgres> {
  return await startOwnPostgres("15");
}

/** The first test file that needs the template makes it; the others wait for it. */
async function ensureTemplate(client: pg.Client): Promise<string> {
  const name = `${inject("databasePrefix")}template`;
  await client.query("select pg_advisory_lock($1)", [templateKey]);
  const found = await client.query("select 1 from pg_database where datname = $1", [name]);
  if (found.rowCount === 0) {
    const unfinished = `${name}_unfinished`;
    await client.query(`drop database if exists ${unfinished} with (force)`);
    await client.query(`create database ${unfinished} template template0 encoding 'UTF8' locale 'C'`);
    await migrate(urlOf(unfinished));
    await client.query(`alter database ${unfinished} rename to ${name}`);
  }
  await client.query("select pg_advisory_unlock($1)", [templateKey]);
  return name;
}

async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  const deadline = performance.now() + leakGraceMs;
  let users: string[];
  do {
    const found = await client.query<{ who: string }>(
      "select coalesce(nullif(application_name, ''), 'unnamed') as who from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
      [name],
    );
    users = found.rows.map((row) => row.who);
    if (users.length > 0) await sleep(20);
  } while (users.length > 0 && performance.now() < deadline);
  await client.query(`drop database ${name} with (force)`);
  if (users.length > 0) throw new Error(`connections leaked to the test database: ${users.join(", ")}`);
}

function urlOf(database: string): string {
  const url = new URL(inject("postgresUrl"));
  url.pathname = `/${database}`;
  return url.href;
}

async function asSuperuser<T>(act: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: inject("postgresUrl"),
    application_name: "holdfast-test",
  });
  await client.connect();
  try {
    return await act(client);
  } finally {
    await client.end();
  }
}
