import { randomUUID } from "node:crypto";
import pg from "pg";
import type { TestProject } from "vitest/node";
import {
  createRunFolder,
  endAbandonedRuns,
  endServersAtOnce,
  endServersOf,
  startServerIn,
} from "./postgres-server.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The server of the run, with the right to create databases. */
    postgresUrl: string;
    postgresRunFolder: string;
    /** Every database of the run has a name that begins with it. */
    databasePrefix: string;
  }
}

/** One server for the whole run: an embedded one, or the one that HOLDFAST_TEST_DATABASE_URL names. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await endAbandonedRuns();
  const databasePrefix = `holdfast_test_${randomUUID().slice(0, 8)}_`;
  const runFolder = await createRunFolder();
  const externalUrl = process.env.HOLDFAST_TEST_DATABASE_URL;
  // vitest exits on a signal without tearing down.
  process.once("exit", () => endServersAtOnce(runFolder));
  try {
    const url = externalUrl ?? (await startServerIn(runFolder)).url;
    project.provide("postgresUrl", url);
    project.provide("postgresRunFolder", runFolder);
    project.provide("databasePrefix", databasePrefix);
  } catch (error) {
    await endServersOf(runFolder);
    throw error;
  }
  return async () => {
    if (externalUrl !== undefined) await dropDatabases(externalUrl, databasePrefix);
    await endServersOf(runFolder);
  };
}

async function dropDatabases(url: string, prefix: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const left = await client.query<{ datname: string }>(
    "select datname from pg_database where starts_with(datname, $1)",
    [prefix],
  );
  for (const { datname } of left.rows) {
    await client.query(`drop database ${pg.escapeIdentifier(datname)} with (force)`);
  }
  await client.end();
}
