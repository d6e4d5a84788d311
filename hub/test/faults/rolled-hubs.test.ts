import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const jobs = 6_000;

test("hubs that are rolled one by one under load cost no job an attempt and start no handler twice (D1, D3, D5, D6, D20)", async () => {
  const house = await openFaultHouse(3);
  // Each job takes long enough that many are in hand whenever a hub leaves.
  const workers = ["one", "two", "three", "four"].map((name) => house.startWorker(name, 250));
  await house.submit(jobs);
  for (const [at, hub] of [...house.hubs].entries()) {
    await house.succeeded(((at + 1) * jobs) / 8);
    hub.kill("SIGTERM");
    await hub.exited();
    await house.startHub(at);
  }
  expect(await house.count("select count(*)::integer as count from job where state < 6")).toBeGreaterThan(0);
  await house.succeeded(jobs, 60_000);
  await checkContract(house.postgres.url, { jobs });
  expect(await house.count("select count(*)::integer as count from job where attempt <> 1")).toBe(0);
  const started = workers.reduce((sum, worker) => sum + worker.counts().started, 0);
  expect(started).toBe(jobs);
}, 90_000);
