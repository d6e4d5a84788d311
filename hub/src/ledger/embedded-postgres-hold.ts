import { realpath } from "node:fs/promises";
import pg from "pg";
import { superuser } from "./embedded-postgres-cluster.js";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";
import { endClient } from "./end-client.js";

/** The advisory lock that everyone who uses an embedded server shares: "hold" in ASCII. */
const holdKey = 0x686f6c64;
/** Serializes the creation of databases by processes that start at once. */
const createKey = holdKey + 1;
const connectTimeoutMs = 5_000;
/** Longer than any statement here takes: a server that is frozen must not freeze the stop of its user. */
const queryTimeoutMs = 30_000;

/**
 * A connection that keeps the server from being stopped under its user: each process that started or adopted the
 * server shares one advisory lock, and only who gets it alone stops the server. The lock falls with the connection,
 * so a killed process holds nothing.
 */
export type Hold = pg.Client;

export function urlOf(password: string, port: number, database: string): string {
  return `postgresql://${superuser}:${password}@127.0.0.1:${port}/${database}`;
}

/** Undefined when the server there does not answer, or is the server of another cluster (a copied directory). */
export async function takeHold(
  port: number,
  password: string,
  clusterDir: string,
): Promise<Hold | undefined> {
  const client = new pg.Client({
    connectionString: urlOf(password, port, "postgres"),
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: queryTimeoutMs,
    application_name: "holdfast-hold",
  });
  // Whoever needs the hold finds out by using it; without a listener its end would end the process.
  client.on("error", () => {});
  try {
    await client.connect();
    const shown = await client.query<{ data_directory: string }>("show data_directory");
    const served = await realpath(shown.rows[0]?.data_directory ?? "");
    if (served === (await realpath(clusterDir))) {
      await client.query("select pg_advisory_lock_shared($1)", [holdKey]);
      return client;
    }
  } catch (cause) {
    if (cause instanceof pg.DatabaseError && cause.code === "28P01") {
      throw new EmbeddedPostgresError(
        `The server of ${clusterDir} refuses the password in the file beside it: restore that file.`,
        { cause },
      );
    }
    // Starting, stopping, or gone: the caller looks again.
  }
  await endClient(client);
  return undefined;
}

/** Gives the hold up. True when nobody else has one; nobody can then take one until the connection ends. */
export async function isLastHold(hold: Hold): Promise<boolean> {
  await hold.query("select pg_advisory_unlock_shared($1)", [holdKey]);
  const tried = await hold.query<{ alone: boolean }>("select pg_try_advisory_lock($1) as alone", [holdKey]);
  return tried.rows[0]?.alone === true;
}

export async function ensureDatabase(hold: Hold, name: string): Promise<void> {
  await hold.query("select pg_advisory_lock($1)", [createKey]);
  const found = await hold.query("select 1 from pg_database where datname = $1", [name]);
  if (found.rowCount === 0) await hold.query(`create database ${pg.escapeIdentifier(name)}`);
  await hold.query("select pg_advisory_unlock($1)", [createKey]);
}
