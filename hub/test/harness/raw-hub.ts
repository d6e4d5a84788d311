import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import type { HubOptions } from "../../src/config.js";
import { type RunningHub, startHub } from "../../src/main.js";
import { createTestDatabase } from "./postgres.js";
import { openRawClient, type RawClient, type RawClientOptions } from "./raw-client.js";
import { until } from "./raw-wait.js";

/** A hub in this process, on a database of its own. Its parts exist from `beforeAll` on. */
export interface HubUnderTest {
  hub(): RunningHub;
  /** What the hub logged. */
  readonly lines: readonly string[];
  client(options?: RawClientOptions): RawClient;
  /** Closes every client that there is, and waits until the hub has no stream left. */
  emptied(): Promise<void>;
  /** How many streams the hub has. */
  streams(): Promise<number>;
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Stops the hub and starts another on the same database and ports. */
  restart(options?: HubOptions): Promise<void>;
  /** A second hub on the same database; stopped with the first. */
  startPeer(): Promise<RunningHub>;
}

export const quick: HubOptions = {
  grpcListen: "127.0.0.1:0",
  httpListen: "127.0.0.1:0",
  sessionTtlMs: 1_200,
  heartbeatIntervalMs: 300,
  drainGraceMs: 500,
};

/** Starts the hub of a test file, once; ends everything that tests opened. Fails when the hub logged a defect. */
export function useHub(options: HubOptions = {}): HubUnderTest {
  const lines: string[] = [];
  const clients: RawClient[] = [];
  const peers: RunningHub[] = [];
  const log = (line: string) => lines.push(line);
  let running: RunningHub | undefined;
  let pool: pg.Pool | undefined;
  let drop: (() => Promise<void>) | undefined;
  const hub = () => {
    if (!running) throw new Error("the hub is not running");
    return running;
  };

  beforeAll(async () => {
    const database = await createTestDatabase();
    drop = database.drop;
    pool = new pg.Pool({ connectionString: database.url, max: 2, options: "-c search_path=holdfast" });
    pool.on("error", () => undefined);
    running = await startHub({ ...quick, ...options, databaseUrl: database.url }, log);
  });

  afterAll(async () => {
    for (const client of clients) client.close();
    for (const peer of peers) await peer.stop();
    await running?.stop();
    await pool?.end();
    await drop?.();
    const defects = lines.filter((line) => line.startsWith("error:"));
    if (defects.length > 0) throw new Error(`the hub logged defects:\n${defects.join("\n")}`);
  });

  return {
    hub,
    lines,
    client(clientOptions = {}) {
      const client = openRawClient(hub().grpcAddress, clientOptions);
      clients.push(client);
      return client;
    },
    async emptied() {
      for (const client of clients.splice(0)) client.close();
      await until(async () => (await this.streams()) === 0, "no stream is left");
    },
    async streams() {
      return (await this.client().call(FleetService.method.getStatus, {})).streams;
    },
    async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      if (!pool) throw new Error("the hub is not running");
      return (await pool.query<Row>(text, values)).rows;
    },
    async restart(more = {}) {
      const { grpcAddress, httpAddress, databaseUrl } = hub();
      await hub().stop();
      running = await startHub(
        { ...quick, ...options, ...more, databaseUrl, grpcListen: grpcAddress, httpListen: httpAddress },
        log,
      );
    },
    async startPeer() {
      const peer = await startHub({ ...quick, ...options, databaseUrl: hub().databaseUrl }, log);
      peers.push(peer);
      return peer;
    },
  };
}
