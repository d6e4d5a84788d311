// What becomes of an effect whose worker dies in the middle. The outside world is a file.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { type FaultHouse, openFaultHouse } from "../harness/processes-house.js";
import { until } from "../harness/raw-wait.js";

async function outside(): Promise<{ file: string; lines: () => Promise<string[]> }> {
  const place = await mkdtemp(join(tmpdir(), "holdfast-outside-"));
  onTestFinished(() => rm(place, { recursive: true, force: true }));
  const file = join(place, "mails");
  const read = () => readFile(file, "utf8").catch(() => "");
  return { file, lines: async () => (await read()).split("\n").filter((line) => line !== "") };
}

interface EffectRow {
  readonly state: number;
  readonly effect_token: string;
  readonly claimed_at: Date;
  readonly expires_at: Date;
  readonly is_taken_over: boolean;
}

async function readEffectRow(house: FaultHouse): Promise<EffectRow> {
  const client = new pg.Client({ connectionString: house.postgres.url, options: "-c search_path=holdfast" });
  await client.connect();
  try {
    return (await client.query<EffectRow>("select * from effect")).rows[0] as EffectRow;
  } finally {
    await client.end();
  }
}

/** A worker that stops at a place of its one job's effect, and is killed there. */
async function killedWorker(house: FaultHouse, effect: Readonly<Record<string, unknown>>): Promise<void> {
  const worker = house.startWorker("first", 0, { effect });
  await until(() => worker.said.some(({ hangs }) => hangs !== undefined), "the worker to hang");
  worker.kill("SIGKILL");
  await worker.exited();
}

test("a worker killed between claim and completion: the next attempt waits until the effect's lease ran out, then takes over (D17)", async () => {
  const house = await openFaultHouse();
  const { file, lines } = await outside();
  await house.submit(1);
  // Longer than it takes until the job has its next attempt.
  const ttlMs = 6_000;
  await killedWorker(house, { file, ttlMs, hang: "before" });
  const left = await readEffectRow(house);
  expect(left).toMatchObject({ state: 2, effect_token: "1" });

  house.startWorker("second", 0, { effect: { file, ttlMs } });
  await house.succeeded(1);

  const effect = await readEffectRow(house);
  expect(effect).toMatchObject({ state: 3, effect_token: "2", is_taken_over: true });
  expect(effect.claimed_at.getTime()).toBeGreaterThanOrEqual(left.expires_at.getTime());
  expect(await lines()).toEqual([expect.stringContaining("taken over")]);
});

test("a worker killed between completion and report: the next attempt is given the result and does nothing again (D16)", async () => {
  const house = await openFaultHouse();
  const { file, lines } = await outside();
  await house.submit(1);
  await killedWorker(house, { file, ttlMs: 60_000, hang: "after" });

  const second = house.startWorker("second", 0, { effect: { file, ttlMs: 60_000 } });
  await house.succeeded(1);

  await until(() => second.said.some(({ mail }) => mail !== undefined), "what the second worker was given");
  expect(second.said.find(({ mail }) => mail !== undefined)).toEqual({ mail: { by: "first" } });
  expect(await lines()).toEqual([expect.stringContaining("first")]);
  await checkContract(house.postgres.url, { jobs: 1 });
});

test("effects of many jobs are done once each, also when the hub is killed meanwhile (D16)", async () => {
  // Longer than a hub takes to come back: a worker that lost its leases would have to be taken over.
  const house = await openFaultHouse(1, 60_000);
  const { file, lines } = await outside();
  const jobs = 400;
  await house.submit(jobs);
  house.startWorker("steady", 5, { effect: { file, ttlMs: 60_000 }, concurrency: 16 });
  await until(async () => (await lines()).length > jobs / 4, "a quarter of the effects");
  house.hub.kill("SIGKILL");
  await house.hub.exited();
  await house.startHub();
  await house.succeeded(jobs);

  const done = await lines();
  // Acts that were on their way are sent again, and answered as the first time.
  expect(new Set(done.map((line) => line.split(" ")[0])).size).toBe(jobs);
  expect(done.filter((line) => line.endsWith("first"))).toHaveLength(jobs);
  await checkContract(house.postgres.url, { jobs });
});
