import pg from "pg";

/**
 * Connections for reading, and for the few writes that are not jobs (keys, lanes). All reads go
 * by key or along an index; scans are ruled out so that a plan made for a small table stays right for a large one.
 */
export function openReadPool(
  databaseUrl: string,
  connectionsMax: number,
  onError: (error: Error) => void,
): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    application_name: "holdfast-reader",
    max: connectionsMax,
    connectionTimeoutMillis: 5_000,
    query_timeout: 20_000,
    keepAlive: true,
    onConnect: async (client) => {
      await client.query(`set search_path = holdfast; set statement_timeout = '15s'; set jit = off;
        set enable_seqscan = off; set enable_bitmapscan = off;`);
    },
  });
  // An idle connection that the server closed (a restart, say) must not end the process: the pool opens another.
  pool.on("error", onError);
  return pool;
}
