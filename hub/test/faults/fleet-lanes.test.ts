// Two hubs on one ledger and one nats-server, with raw workers, while NATS fails in every way that it can.
import { randomUUID } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RunningHub, startHub } from "../../src/main.js";
import type { NatsServer } from "../../src/nats/nats-server.js";
import { useNats } from "../harness/nats.js";
import { createTestDatabase } from "../harness/postgres.js";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { quick } from "../harness/raw-hub.js";
import { submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, type RawWorker, success } from "../harness/raw-worker.js";

const nats = useNats();
const lines: string[] = [];
let database: Awaited<ReturnType<typeof createTestDatabase>>;
let pool: pg.Pool;
let hubs: { readonly hub: RunningHub; readonly client: RawClient }[];
let natsPrefix: string;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 2, options: "-c search_path=holdfast" });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

async function addHub(): Promise<void> {
  const options = { ...quick, databaseUrl: database.url, natsUrl: nats.url(), natsPrefix };
  const hub = await startHub(options, (line) => lines.push(line));
  hubs.push({ hub, client: openRawClient(hub.grpcAddress) });
}

beforeEach(async () => {
  natsPrefix = `fleet-${randomUUID().slice(0, 8)}`;
  hubs = [];
  await addHub();
  // The lane is made before the second hub starts, so that both know it.
  const worker = await attachWorker(client(0));
  await submitOne(client(0));
  worker.credit(1);
  await worker.succeed(await worker.lease());
  worker.vanish();
  await addHub();
  await pool.query("delete from job");
});

afterEach(async () => {
  await server().start();
  for (const { hub, client } of hubs) {
    client.close();
    await hub.stop();
  }
  expect(lines.filter((line) => line.startsWith("error:"))).toEqual([]);
  lines.length = 0;
});

function client(at: number): RawClient {
  return (hubs[at] as (typeof hubs)[number]).client;
}

function server(): NatsServer {
  return nats.servers()[0] as NatsServer;
}

/** A worker that succeeds whatever it is leased, so many jobs at once. */
async function work(at: number, jobsAtOnce = 20): Promise<RawWorker> {
  const worker = await attachWorker(client(at));
  let reported = 0;
  worker.stream.onMessage((message) => {
    if (message.case !== "leases") return;
    const batch = worker.leases.slice(reported);
    reported += batch.length;
    const results = batch.map(({ jobId, fencingToken }) => ({
      jobId,
      fencingToken,
      outcome: { outcome: success("done") },
    }));
    if (results.length > 0) worker.stream.send({ case: "report", value: { results } }, worker.delivered());
    worker.credit(batch.length, batch.length);
  });
  worker.credit(jobsAtOnce);
  return worker;
}

const submit = (at: number, count: number) =>
  submitMany(
    client(at),
    Array.from({ length: count }, () => ({})),
  );

async function succeeded(count: number, limitMs = 30_000): Promise<void> {
  const text = "select count(*)::integer as count from job where state = 6";
  await until(
    async () => (await pool.query<{ count: number }>(text)).rows[0]?.count === count,
    `${count} jobs succeeded`,
    limitMs,
  );
}

const leasedIds = (workers: readonly RawWorker[]) =>
  workers.flatMap((worker) => worker.leases.map((lease) => lease.jobId));

describe("two hubs that share lanes", () => {
  it("dispatch what is submitted at either, each job once, to workers at both (D4, D10)", async () => {
    const workers = [await work(0), await work(1)];

    await Promise.all([submit(0, 2_000), submit(1, 2_000)]);
    await submit(0, 1_000);
    await succeeded(5_000);

    expect(new Set(leasedIds(workers)).size).toBe(5_000);
    expect(leasedIds(workers)).toHaveLength(5_000);
  });

  it("start a job at another hub's worker without a look into the ledger", async () => {
    const worker = await attachWorker(client(1));
    worker.credit(20);
    const took: number[] = [];
    for (let again = 0; again < 10; again += 1) {
      const from = performance.now();
      const jobId = await submitOne(client(0));
      expect((await worker.lease()).jobId).toBe(jobId);
      took.push(performance.now() - from);
    }
    took.sort((one, other) => one - other);
    expect(took[5]).toBeLessThan(500);
  });

  it("dispatch every ready job after the stream was wiped with it (D9)", async () => {
    await submit(0, 3_000);
    const connection = await connect({ servers: nats.url().replace("nats://", "") });
    const manager = await jetstreamManager(connection);
    await manager.streams.purge(`${natsPrefix}_LANES`);
    await manager.streams.delete(`${natsPrefix}_LANES`);
    await connection.close();

    const workers = [await work(0, 100), await work(1, 100)];

    await succeeded(3_000);
    expect(new Set(leasedIds(workers)).size).toBe(3_000);
  });

  it("dispatch every ready job after messages were lost and nobody was told (D9)", async () => {
    await submit(0, 3_000);
    const connection = await connect({ servers: nats.url().replace("nats://", "") });
    await (await jetstreamManager(connection)).streams.purge(`${natsPrefix}_LANES`);
    await connection.close();

    const workers = [await work(0, 100), await work(1, 100)];

    await succeeded(3_000);
    expect(new Set(leasedIds(workers)).size).toBe(3_000);
  });

  it("go on while NATS is away, at both hubs, and after it came back with nothing it had (D9)", async () => {
    const workers = [await work(0), await work(1)];
    await submit(0, 500);
    await succeeded(500);

    await server().kill();
    await submit(0, 500);
    await succeeded(1_000);
    workers[0]?.vanish();
    // Only the other hub has a worker now: it finds the jobs in the ledger.
    await submit(0, 500);
    await succeeded(1_500);

    await server().start({ isWiped: true });
    await submit(0, 500);
    await succeeded(2_000);
  });

  it("take over what a hub had that was stopped in the middle", async () => {
    await submit(0, 4_000);
    const first = await work(0, 50);
    const second = await work(1, 50);
    await until(() => first.leases.length > 100, "some leases");

    await (hubs[0] as (typeof hubs)[number]).hub.stop();

    await succeeded(4_000);
    expect(new Set(leasedIds([first, second])).size).toBe(4_000);
  });
});
