import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { until } from "../harness/raw-wait.js";

const held = "select count(*)::integer as count from job where state = 5";

test("workers of a hub that is killed go on at another with what they hold: every job ends in its first attempt (D3, D5, D6)", async () => {
  // Sessions outlast the way from one hub to the next, also on a machine that is slow.
  const house = await openFaultHouse(3, 10_000);
  const workers = ["one", "two", "three", "four"].map((name) => house.startWorker(name, 400));
  const stopFeeding = house.keepBusy();
  for (const [at, hub] of [...house.hubs].entries()) {
    await until(async () => (await house.count(held)) >= 100, "jobs in hand", 60_000);
    hub.kill("SIGKILL");
    await hub.exited();
    await house.startHub(at);
  }
  const jobs = await stopFeeding();
  await house.succeeded(jobs, 60_000);
  await checkContract(house.postgres.url, { jobs });
  expect(await house.count("select count(*)::integer as count from job where attempt <> 1")).toBe(0);
  expect(workers.reduce((sum, worker) => sum + worker.counts().started, 0)).toBe(jobs);
}, 240_000);
