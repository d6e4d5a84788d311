// What chaos is made in: PostgreSQL, NATS, hubs and worker processes, all of its own, in a temporary directory. They
// start in this order and stop in the reverse.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@holdfast/hub/embedded-postgres";
import { type NatsServers, startNatsServers } from "@holdfast/hub/nats-server";
import type { ChaosWorkersParams, ChaosWorkersSays, WorkerCounts } from "../programs/chaos-workers.js";
import { type Program, startProgram } from "../start-program.js";
import { EventFollower } from "./event-follower.js";
import { HubSeat } from "./hub-seat.js";

export interface WorldSettings {
  readonly hubs: number;
  /** 0 for none. */
  readonly natsServers: number;
  readonly sessions: number;
  readonly workerProcesses: number;
  readonly sessionTtlMs: number;
}

export interface World {
  readonly settings: WorldSettings;
  readonly postgres: EmbeddedPostgres;
  readonly nats: NatsServers | null;
  readonly hubs: readonly HubSeat[];
  /** Reads what the hubs forward; null without NATS. */
  readonly follower: EventFollower | null;
  /** What all workers have counted so far. */
  counts(): Promise<WorkerCounts>;
  /** Stops the workers once every verdict is in; answers where their verdicts are written. */
  stopWorkers(): Promise<readonly string[]>;
  close(): Promise<void>;
}

const countsWithinMs = 60_000;
const workMsMax = 40;
/** A heartbeat is echoed in vain twice before a worker leaves a silent hub, long before its session runs out. */
const heartbeatsPerTtl = 6;

export async function openWorld(settings: WorldSettings, log: (line: string) => void): Promise<World> {
  const closing: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    const scratchDir = await mkdtemp(join(tmpdir(), "holdfast-chaos-"));
    const remove = (directory: string) => rm(directory, { recursive: true, force: true, maxRetries: 10 });
    closing.push(() => remove(scratchDir));
    // The account that the server runs as must get through.
    await chmod(scratchDir, 0o755);
    const postgres = await startEmbeddedPostgres({ dataDir: scratchDir, log });
    closing.push(async () => {
      await postgres.stop();
      // Elsewhere when the account cannot enter the temporary directory.
      await remove(dirname(postgres.dataDir));
    });
    const nats = await openNats(settings.natsServers, join(scratchDir, "nats"), log);
    if (nats) closing.push(() => nats.stop());
    const follower = nats ? await EventFollower.open(nats.url) : null;
    if (follower) closing.push(() => follower.close());
    const hubs = await openHubs(settings, postgres.url, nats);
    closing.push(() => Promise.all(hubs.map((hub) => hub.stop())));
    // The first makes and migrates the ledger; the others find it there.
    await hubs[0]?.start();
    await Promise.all(hubs.slice(1).map((hub) => hub.start()));
    const { workers, verdictsFiles } = startWorkers(settings, hubs, scratchDir);
    const stopWorkers = async () => {
      await Promise.all(workers.map((worker) => worker.stop()));
      return verdictsFiles;
    };
    closing.push(stopWorkers);
    return { settings, postgres, nats, hubs, follower, counts: () => sumOf(workers), stopWorkers, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openNats(
  serversCount: number,
  folder: string,
  log: (line: string) => void,
): Promise<NatsServers | null> {
  return serversCount === 0 ? null : await startNatsServers({ folder, serversCount, log });
}

function openHubs(
  settings: WorldSettings,
  databaseUrl: string,
  nats: NatsServers | null,
): Promise<HubSeat[]> {
  const options = {
    sessionTtlMs: settings.sessionTtlMs,
    heartbeatIntervalMs: Math.floor(settings.sessionTtlMs / heartbeatsPerTtl),
    ...(nats && { natsUrl: nats.url, eventSink: "nats" }),
  };
  const names = Array.from({ length: settings.hubs }, (_, at) => `hub-${at + 1}`);
  return Promise.all(names.map((name) => HubSeat.open(name, databaseUrl, options)));
}

function startWorkers(
  { sessions, workerProcesses }: WorldSettings,
  hubs: readonly HubSeat[],
  folder: string,
) {
  const addresses = hubs.map(({ address }) => address);
  const verdictsFiles: string[] = [];
  const workers: Program<ChaosWorkersSays>[] = [];
  for (let at = 0; at < workerProcesses; at++) {
    const verdictsFile = join(folder, `verdicts-${at + 1}`);
    // As even as it can be.
    const own =
      Math.floor(((at + 1) * sessions) / workerProcesses) - Math.floor((at * sessions) / workerProcesses);
    const params: ChaosWorkersParams = {
      addresses,
      name: `chaos-${at + 1}`,
      sessions: own,
      verdictsFile,
      workMsMax,
    };
    verdictsFiles.push(verdictsFile);
    workers.push(startProgram({ program: "chaos-workers", params, profileDir: null }));
  }
  return { workers, verdictsFiles };
}

async function sumOf(workers: readonly Program<ChaosWorkersSays>[]): Promise<WorkerCounts> {
  const sum = { committed: 0, duplicate: 0, stale: 0, refused: 0, started: 0 };
  for (const counts of await Promise.all(workers.map((worker) => worker.said("counts", countsWithinMs))))
    for (const field of Object.keys(sum) as (keyof WorkerCounts)[]) sum[field] += counts[field];
  return sum;
}
