import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { readEventStream, revisionsSeen } from "../harness/event-stream.js";
import { useNats } from "../harness/nats.js";
import { startOwnPostgres } from "../harness/postgres.js";
import { freeAddress, type HubProcess, startHubProcess, startWorkerProcess } from "../harness/processes.js";
import { openRawClient } from "../harness/raw-client.js";
import { submitMany } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";

const nats = useNats();
const jobsPerHub = 1_500;
const limitMs = 90_000;

interface Fleet {
  /** Two hubs with a worker each on one ledger. Jobs are submitted at both, and many go from one to the other. */
  readonly hubs: readonly [HubProcess, HubProcess];
  submit(): Promise<void>;
  ended(jobs: number): Promise<void>;
  /** The stream has every event of the ledger, and each job's in order once duplicates are dropped. */
  everythingIsForwarded(): Promise<void>;
}

async function openFleet(): Promise<Fleet> {
  const postgres = await startOwnPostgres();
  const journals = await mkdtemp(join(tmpdir(), "holdfast-journals-"));
  onTestFinished(async () => {
    await postgres.stop();
    await rm(journals, { recursive: true, force: true });
  });
  const server = nats.servers()[0] as ReturnType<typeof nats.servers>[number];
  await server.stop();
  await server.start({ isWiped: true });
  const startHub = async () =>
    startHubProcess({
      databaseUrl: postgres.url,
      grpcListen: await freeAddress(),
      sessionTtlMs: 1_500,
      natsUrl: nats.url(),
    });
  const hubs = [await startHub(), await startHub()] as const;
  for (const [at, hub] of hubs.entries())
    startWorkerProcess({
      address: hub.grpcAddress,
      name: `worker-${at}`,
      journal: join(journals, String(at)),
      concurrency: 32,
      workMs: 8,
      drainTimeoutMs: 1_000,
    });
  const rows = async <Row extends object>(text: string): Promise<Row[]> => {
    const client = new pg.Client({
      connectionString: postgres.url,
      options: "-c search_path=holdfast",
    });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  };
  const revisions = async () =>
    new Map(
      (
        await rows<{ job_id: string; revisions: number[] }>(
          "select job_id, array_agg(revision order by revision) as revisions from event group by job_id",
        )
      ).map((row) => [row.job_id, row.revisions]),
    );
  const events = (seen: ReadonlyMap<string, number[]>) =>
    [...seen.values()].reduce((sum, list) => sum + list.length, 0);
  return {
    hubs,
    async submit() {
      for (const hub of hubs) {
        const client = openRawClient(hub.grpcAddress);
        await submitMany(
          client,
          Array.from({ length: jobsPerHub }, () => ({})),
        );
        client.close();
      }
    },
    async ended(jobs) {
      const count = async () =>
        (await rows<{ count: number }>("select count(*)::integer as count from job where state = 6"))[0]
          ?.count ?? 0;
      await until(async () => (await count()) >= jobs, `${jobs} jobs ended`, limitMs);
    },
    async everythingIsForwarded() {
      const look = async () => events(revisionsSeen(await readEventStream(nats.url(), "holdfast")));
      const written = events(await revisions());
      await until(async () => (await look()) >= written, `${written} events are in the stream`, limitMs);
      expect(revisionsSeen(await readEventStream(nats.url(), "holdfast"))).toEqual(await revisions());
    },
  };
}

test("a hub that is killed while it forwards leaves its rest to the other: nothing is lost, and jobs keep their order (D20, D21)", async () => {
  const fleet = await openFleet();
  await fleet.submit();
  await fleet.ended(jobsPerHub / 2);
  fleet.hubs[0].kill("SIGKILL");
  await fleet.ended(2 * jobsPerHub);
  await fleet.everythingIsForwarded();
}, 240_000);

test("a hub that stands still holds up nobody's events, and coming back breaks no order (D20, D21)", async () => {
  const fleet = await openFleet();
  await fleet.submit();
  await fleet.ended(jobsPerHub / 2);
  fleet.hubs[0].kill("SIGSTOP");
  await fleet.ended(2 * jobsPerHub);
  await fleet.everythingIsForwarded();
  fleet.hubs[0].kill("SIGCONT");
  await fleet.submit();
  await fleet.ended(4 * jobsPerHub);
  await fleet.everythingIsForwarded();
}, 240_000);

test("NATS away for a while stops no job, and gets every event when it is back (D20, D21)", async () => {
  const fleet = await openFleet();
  await fleet.submit();
  await fleet.ended(jobsPerHub / 2);
  const server = nats.servers()[0] as ReturnType<typeof nats.servers>[number];
  await server.kill();
  await fleet.ended(2 * jobsPerHub);
  await server.start();
  await fleet.everythingIsForwarded();
}, 240_000);
