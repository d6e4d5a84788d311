/**
 * A real PostgreSQL that comes with npm, for a hub that was given no database.
 *
 * The server outlives a killed hub, by design of PostgreSQL and to the hub's good: the next hub adopts it. What must
 * hold:
 * - of any number of processes that start on one data directory at once, one starts the server, the others adopt it;
 * - the server stops when the last process that holds it stops, never under another one: a hold that is lost, with its
 *   connection or the whole server, is taken again, and the server is started again if it has to be;
 * - a cluster is whole or absent (see ensureCluster);
 * - durability is PostgreSQL's default, spelled out (D1).
 */
import { setTimeout as delay } from "node:timers/promises";
import { type MajorVersion, settleBinaries } from "./embedded-postgres-binaries.js";
import { ensureCluster, readPassword, type Settings } from "./embedded-postgres-cluster.js";
import { ensureDatabase, isLastHold, takeHold, urlOf } from "./embedded-postgres-hold.js";
import { settlePlace } from "./embedded-postgres-place.js";
import { type HeldServer, startOrAdopt, stopServer } from "./embedded-postgres-server.js";
import { endClient } from "./end-client.js";

export interface EmbeddedPostgresOptions {
  /** The hub's data directory. The cluster lives in its folder `postgres`, or where the log says. */
  dataDir: string;
  /** TCP port on 127.0.0.1. Default: the port used last, else a free one. */
  port?: number;
  /** Major version. Default 18; 15 is there in a development checkout only. */
  version?: MajorVersion;
  /** Gets a line for what an operator wants to know: where the data is, started or adopted, stopped. */
  log: (line: string) => void;
  /** Added to and overriding the server's settings when this process is the one that starts it. */
  settings?: Settings;
}

export interface EmbeddedPostgres {
  /** Of the database `holdfast`, password included. Stays the same over a restart. */
  readonly url: string;
  /** The directory of the cluster itself. */
  readonly dataDir: string;
  readonly version: string;
  /** Of the server's first process. */
  readonly pid: number;
  /** Lets go of the server and, if no other process holds it, shuts it down. Idempotent. */
  stop(): Promise<void>;
  /** Shuts the server down and starts it again on its port, whoever else uses it. */
  restart(): Promise<void>;
}

const databaseName = "holdfast";
const retakeAfterMs = 200;
const retakePauseMsMax = 10_000;

/** @throws EmbeddedPostgresError when the message is all that the operator needs */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log, version = "18", settings = {} } = options;
  const place = await settlePlace(options.dataDir, log);
  const binaries = await settleBinaries(version, place.account);
  await ensureCluster(place, binaries, version);
  let server = await startOrAdopt({ place, binaries, settings, port: options.port, log });
  await ensureDatabase(server.hold, databaseName).catch(async (error: unknown) => {
    await server.hold.end();
    throw error;
  });
  log(`PostgreSQL ${version} ${describe(server)}, data in ${place.clusterDir}`);
  const password = await readPassword(place);
  const url = urlOf(password, server.port, databaseName);
  let stopped: Promise<void> | undefined;
  let isRestarting = false;
  let retaking: Promise<void> = Promise.resolve();

  function keepHold(): void {
    server.hold.once("end", () => {
      if (!stopped && !isRestarting) retaking = retake();
    });
  }

  async function retake(): Promise<void> {
    for (let pauseMs = retakeAfterMs; !stopped; pauseMs = Math.min(pauseMs * 2, retakePauseMsMax)) {
      await delay(pauseMs, undefined, { ref: false });
      if (stopped) return;
      try {
        server = await startOrAdopt({ place, binaries, settings, port: server.port, log });
        log(`PostgreSQL ${describe(server)} again`);
        return keepHold();
      } catch (error) {
        log(`warning: ${(error as Error).message}`);
      }
    }
  }

  /** Whether nobody else holds the server. Of one that does not answer nobody does. */
  async function isLast(): Promise<boolean> {
    try {
      return await isLastHold(server.hold);
    } catch {
      const hold = await takeHold(server.port, password, place.clusterDir);
      if (!hold) return true;
      server.hold = hold;
      return await isLastHold(hold);
    }
  }

  async function stop(): Promise<void> {
    await retaking;
    const isAlone = await isLast();
    if (isAlone) await stopServer(place, binaries);
    await endClient(server.hold);
    log(isAlone ? "PostgreSQL stopped" : "PostgreSQL goes on: another process uses it");
  }

  keepHold();

  return {
    url,
    version,
    dataDir: place.clusterDir,
    get pid() {
      return server.pid;
    },
    stop: () => (stopped ??= stop()),
    async restart() {
      await retaking;
      isRestarting = true;
      try {
        await stopServer(place, binaries);
        await endClient(server.hold);
        server = await startOrAdopt({ place, binaries, settings, port: server.port, log });
        keepHold();
      } finally {
        isRestarting = false;
      }
    },
  };
}

function describe(server: HeldServer): string {
  return `${server.origin} on 127.0.0.1:${server.port} (pid ${server.pid})`;
}
