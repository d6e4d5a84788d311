// A house for fault tests: its own PostgreSQL, hub processes, worker processes of the SDK, and jobs in the ledger.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, type HoldfastClient } from "@holdfast/worker";
import pg from "pg";
import { onTestFinished } from "vitest";
import type { EmbeddedPostgres } from "../../src/ledger/embedded-postgres.js";
import { makeAuditKey } from "../../src/services/audit-key.js";
import { startOwnPostgres } from "./postgres.js";
import {
  freeAddress,
  type HubProcess,
  startHubProcess,
  startWorkerProcess,
  type WorkerProcess,
} from "./processes.js";
import { openRawClient } from "./raw-client.js";
import { type JobInit, submitMany } from "./raw-jobs.js";
import { until } from "./raw-wait.js";

export interface FaultHouse {
  readonly postgres: EmbeddedPostgres;
  /** What all hubs seal with. */
  readonly auditKey: string;
  /** The first of the hubs. */
  readonly hub: HubProcess;
  readonly hubs: readonly HubProcess[];
  /** Starts a hub again at its address. */
  startHub(at?: number): Promise<void>;
  startWorker(name: string, workMs?: number, more?: Readonly<Record<string, unknown>>): WorkerProcess;
  /** Submits them, to every hub its share. */
  submit(count: number, job?: JobInit): Promise<void>;
  /** Keeps jobs waiting whatever happens to hubs, until it is stopped; answers how many there were in all. */
  keepBusy(): () => Promise<number>;
  /** The first number of the first row of a query. */
  count(text: string, values?: unknown[]): Promise<number>;
  /** How many events of these types there are. */
  events(...types: number[]): Promise<number>;
  /** Resolves when this many jobs have succeeded; bounds how long that may take. */
  succeeded(count: number, limitMs?: number): Promise<void>;
}

export const sessionTtlMs = 1_500;

const busyJobs = 500;
const openJobs = "select count(*)::integer as count from job where state < 6";

/** Until the whole batch is accepted: the keys make each job one, however often it is submitted (D2). */
async function submitKeyed(client: HoldfastClient, name: string, jobs: number): Promise<number> {
  const batch = Array.from({ length: jobs }, (_, n) => ({ kind: "work", idempotencyKey: `${name}-${n}` }));
  for (;;) {
    const answers = await client.submitBatch(batch).catch(() => []);
    if (answers.length > 0 && answers.every(({ outcome }) => outcome === "accepted")) return jobs;
    await sleep(100);
  }
}

/**
 * @param hubCount hubs on the one ledger; every worker knows them all
 * @param ttlMs of sessions: short to see them lost, long to see them outlast a hub
 */
export async function openFaultHouse(hubCount = 1, ttlMs = sessionTtlMs): Promise<FaultHouse> {
  const postgres = await startOwnPostgres();
  const journals = await mkdtemp(join(tmpdir(), "holdfast-journals-"));
  onTestFinished(async () => {
    await postgres.stop();
    await rm(journals, { recursive: true, force: true });
  });
  const auditKey = join(journals, "audit-key.pem");
  await makeAuditKey(auditKey);
  const addresses: string[] = [];
  while (addresses.length < hubCount) addresses.push(await freeAddress());
  const startHub = (at: number) =>
    startHubProcess({
      databaseUrl: postgres.url,
      grpcListen: addresses[at] as string,
      sessionTtlMs: ttlMs,
      auditKey,
    });
  const count = async (text: string, values: unknown[] = []) => {
    const client = new pg.Client({
      connectionString: postgres.url,
      connectionTimeoutMillis: 2_000,
      options: "-c search_path=holdfast",
    });
    client.on("error", () => undefined);
    // One that does not connect in time is gone by itself; ending it would wait for ever.
    await client.connect();
    try {
      return (await client.query<{ count: number }>(text, values)).rows[0]?.count ?? 0;
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  const hubs = await Promise.all(addresses.map((_, at) => startHub(at)));
  const house: FaultHouse = {
    postgres,
    auditKey,
    hubs,
    get hub() {
      return hubs[0] as HubProcess;
    },
    async startHub(at = 0) {
      hubs[at] = await startHub(at);
    },
    startWorker: (name, workMs = 8, more = {}) =>
      startWorkerProcess({
        addresses,
        name,
        journal: join(journals, name),
        concurrency: 32,
        workMs,
        drainTimeoutMs: 1_000,
        ...more,
      }),
    async submit(jobs, job = {}) {
      const share = Math.ceil(jobs / addresses.length);
      for (const [at, address] of addresses.entries()) {
        const client = openRawClient(address);
        const end = Math.min(jobs, (at + 1) * share);
        for (let done = at * share; done < end; done += 10_000)
          await submitMany(
            client,
            Array.from({ length: Math.min(10_000, end - done) }, () => job),
          );
        client.close();
      }
    },
    keepBusy() {
      const client = createClient({ addresses, timeoutMs: 5_000 });
      let isStopped = false;
      let submitted = 0;
      const feeding = (async () => {
        while (!isStopped) {
          const isEnough = (await count(openJobs)) >= busyJobs;
          if (isEnough) await sleep(50);
          else submitted += await submitKeyed(client, `busy-${submitted}`, busyJobs);
        }
      })();
      return async () => {
        isStopped = true;
        await feeding;
        client.close();
        return submitted;
      };
    },
    count,
    events: (...types) => count("select count(*)::integer as count from event where type = any($1)", [types]),
    async succeeded(jobs, limitMs = 30_000) {
      const text = "select count(*)::integer as count from job where state = 6";
      // PostgreSQL may be away just now.
      const look = async () => (await count(text).catch(() => 0)) >= jobs;
      await until(look, `${jobs} jobs succeeded`, limitMs);
    },
  };
  return house;
}
