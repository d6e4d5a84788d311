import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { until } from "../harness/raw-wait.js";

const jobs = 3_000;
const held = "select count(*)::integer as count from job where state = 5";

test("workers of a hub that is killed go on at another with what they hold: every job ends in its first attempt (D3, D5, D6)", async () => {
  const house = await openFaultHouse(3);
  const workers = ["one", "two", "three", "four"].map((name) => house.startWorker(name, 400));
  await house.submit(jobs);
  for (const [at, hub] of [...house.hubs].entries()) {
    await house.succeeded(((at + 1) * jobs) / 8);
    await until(async () => (await house.count(held)) >= 100, "jobs in hand");
    hub.kill("SIGKILL");
    await hub.exited();
    await house.startHub(at);
  }
  await house.succeeded(jobs, 60_000);
  await checkContract(house.postgres.url, { jobs });
  expect(await house.count("select count(*)::integer as count from job where attempt <> 1")).toBe(0);
  const started = workers.reduce((sum, worker) => sum + worker.counts().started, 0);
  expect(started).toBe(jobs);
}, 90_000);
