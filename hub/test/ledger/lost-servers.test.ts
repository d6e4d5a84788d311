// Servers that go away, or stand still, where nobody waits for an answer.
import pg from "pg";
import { expect, it, onTestFinished } from "vitest";
import { endClient } from "../../src/ledger/end-client.js";
import { migrate } from "../../src/ledger/migrate.js";
import { startHub } from "../../src/main.js";
import { createTestDatabase } from "../harness/postgres.js";
import { quick } from "../harness/raw-hub.js";
import { pausableProxy } from "../harness/raw-proxy.js";

async function databaseBehindProxy() {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const { host } = new URL(database.url);
  const proxy = await pausableProxy(host);
  onTestFinished(() => proxy.close());
  return { database, proxy, url: database.url.replace(host, proxy.address) };
}

async function openEye(url: string): Promise<pg.Client> {
  const eye = new pg.Client({ connectionString: url, application_name: "holdfast-test-eye" });
  await eye.connect();
  onTestFinished(() => eye.end());
  return eye;
}

it("a connection that is lost during the migration fails it, and nothing else", async () => {
  const { database, proxy, url } = await databaseBehindProxy();
  const eye = await openEye(database.url);
  await eye.query("select pg_advisory_lock(hashtext('holdfast.migrate'))");

  const migrating = migrate(url).catch(String);
  const waits =
    "select from pg_stat_activity where application_name = 'holdfast-migrate' and wait_event = 'advisory' and datname = current_database()";
  await expect.poll(async () => (await eye.query(waits)).rowCount).toBe(1);
  proxy.cut();

  expect(await migrating).toMatch(/terminated|ECONNRESET/);
});

it("a connection to a server that stands still is ended without it", async () => {
  const { proxy, url } = await databaseBehindProxy();
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  proxy.stopReading();

  await endClient(client);

  expect(client.connection.stream.destroyed).toBe(true);
});

it("a hub that fails to start leaves no connection behind", async () => {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const eye = await openEye(database.url);
  await eye.query("alter table holdfast.gate rename to no_gate");

  await expect(startHub({ ...quick, databaseUrl: database.url }, () => undefined)).rejects.toThrow("gate");

  const left =
    "select application_name from pg_stat_activity where datname = current_database() and application_name like 'holdfast-%er'";
  await expect.poll(async () => (await eye.query(left)).rows).toEqual([]);
});
