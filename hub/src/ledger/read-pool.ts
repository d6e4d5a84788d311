import pg from "pg";
import { Fault } from "../domain/fault.js";
import { cutOff } from "./end-client.js";
import { classifyFailure } from "./failure.js";
import { durableCommits, plansByKey } from "./writer-connection.js";

/**
 * Connections for reading, and for the few writes that are not jobs (keys, lanes). All reads go by key or along
 * an index, by a plan that is made once: over all the partitions of jobs and events, planning takes longer than reading.
 */
const readSettings = `
  set search_path = holdfast;
  set statement_timeout = '15s';
  set lock_timeout = '5s';
  ${plansByKey}
  ${durableCommits}`;

export class ReadPool {
  readonly #pool: pg.Pool;
  readonly #clients = new Set<pg.PoolClient>();

  /** @param onError an idle connection was lost; the pool opens another */
  constructor(databaseUrl: string, connectionsMax: number, onError: (error: Error) => void) {
    this.#pool = new pg.Pool({
      connectionString: databaseUrl,
      application_name: "holdfast-reader",
      max: connectionsMax,
      connectionTimeoutMillis: 2_000,
      query_timeout: 20_000,
      keepAlive: true,
      onConnect: async (client) => {
        await client.query(readSettings);
      },
    });
    this.#pool.on("error", onError);
    this.#pool.on("connect", (client) => this.#clients.add(client));
    this.#pool.on("remove", (client) => this.#clients.delete(client));
  }

  /** @throws Fault LEDGER_UNAVAILABLE when the server is away */
  async query<Row extends object>(
    query: string | pg.QueryConfig,
    values?: readonly unknown[],
  ): Promise<pg.QueryResult<Row & pg.QueryResultRow>> {
    try {
      return await this.#pool.query<Row & pg.QueryResultRow>(query, values as unknown[] | undefined);
    } catch (cause) {
      if (classifyFailure(cause) !== "connection") throw cause;
      throw new Fault(
        "LEDGER_UNAVAILABLE",
        "The ledger cannot be reached.",
        {},
        { retryAfterMs: 1_000, cause },
      );
    }
  }

  async end(): Promise<void> {
    const clients = [...this.#clients];
    await this.#pool.end();
    // Of a server that is frozen they would stay half open.
    for (const client of clients) cutOff(client as unknown as pg.Client);
  }
}
