import pg from "pg";

/** The server that every contestant uses, seen from outside the contestants. */
export interface PostgresServer {
  readonly version: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Makes an empty database, answers its URL. */
  createDatabase(name: string): Promise<string>;
  dropDatabase(name: string): Promise<void>;
  /** Puts a database to rest: statistics and hint bits are there, nothing is dirty. */
  settle(name: string): Promise<void>;
  readCounters(name: string): Promise<Counters>;
  /**
   * Opens a transaction with an id and a snapshot of its own in a database, as a report or a dump would; vacuum removes
   * nothing that it might still see. Answers what ends it.
   */
  holdTransaction(name: string): Promise<() => Promise<void>>;
  /** One number from a database. */
  count(name: string, query: string): Promise<number>;
  close(): Promise<void>;
}

export interface Counters {
  /** Bytes of write-ahead log that the server has ever written. */
  readonly walBytes: number;
  /** Transactions that the database has committed; a connection's are counted when it has ended. */
  readonly commits: number;
}

/** What decides what a commit costs, and what a default of another server may differ in. */
const settingsShown = [
  "synchronous_commit",
  "fsync",
  "full_page_writes",
  "wal_sync_method",
  "wal_compression",
  "shared_buffers",
  "min_wal_size",
  "max_wal_size",
  "checkpoint_timeout",
  "autovacuum",
  "jit",
  "max_connections",
];

/** Files of the write-ahead log that a server finds ready which has run for a while, of 16 MiB each. */
const walFilesReady = 64;

export async function openPostgresServer(serverUrl: string): Promise<PostgresServer> {
  const urlOf = (name: string) => {
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    return url.href;
  };
  // Connected to a database of its own, so that its transactions are in nobody's count.
  const home = await connect(urlOf("postgres"));
  await useWalFiles(home);
  const within = async <Result>(name: string, act: (client: pg.Client) => Promise<Result>) => {
    const client = await connect(urlOf(name));
    try {
      return await act(client);
    } finally {
      await client.end();
    }
  };
  const settings = await home.query<{ name: string; value: string }>(
    "select name, current_setting(name) as value from pg_settings where name = any($1) order by name",
    [settingsShown],
  );
  const version = await home.query<{ server_version: string }>("show server_version");
  return {
    version: version.rows[0]?.server_version ?? "unknown",
    settings: Object.fromEntries(settings.rows.map(({ name, value }) => [name, value])),
    createDatabase: async (name) => {
      await home.query(`create database ${pg.escapeIdentifier(name)}`);
      return urlOf(name);
    },
    dropDatabase: async (name) => {
      await home.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
    },
    settle: async (name) => {
      await within(name, (client) => client.query("vacuum analyze"));
      await home.query("checkpoint");
    },
    readCounters: async (name) => {
      const { rows } = await home.query<{ wal_bytes: string; commits: string }>(
        `select pg_current_wal_insert_lsn() - '0/0' as wal_bytes, xact_commit as commits
         from pg_stat_database where datname = $1`,
        [name],
      );
      const row = rows[0];
      if (!row) throw new Error(`There is no database ${name}.`);
      return { walBytes: Number(row.wal_bytes), commits: Number(row.commits) };
    },
    holdTransaction: async (name) => {
      const client = await connect(urlOf(name));
      await client.query("begin isolation level repeatable read");
      await client.query("select pg_current_xact_id()");
      return () => client.end();
    },
    count: (name, query) =>
      within(name, async (client) => {
        const { rows } = await client.query<{ count: string }>(query);
        return Number(rows[0]?.count);
      }),
    close: () => home.end(),
  };
}

/**
 * A new cluster makes each file of its log as it comes to it, and whoever commits then waits 60 to 100 ms; after a
 * checkpoint it uses them again.
 */
async function useWalFiles(home: pg.Client): Promise<void> {
  for (let files = 0; files < walFilesReady; files += 1)
    await home.query("select pg_switch_wal() from pg_logical_emit_message(true, 'holdfast-bench', '')");
  await home.query("checkpoint");
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: "holdfast-bench" });
  // A query that runs fails by itself; one that waits for the next is told then.
  client.on("error", () => undefined);
  await client.connect();
  return client;
}
