import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

test("hubs that are rolled one by one under load cost no job an attempt and start no handler twice (D1, D3, D5, D6, D20)", async () => {
  // Sessions outlast the way from one hub to the next, also on a machine that is slow.
  const house = await openFaultHouse(3, 10_000);
  // Each job takes long enough that many are in hand whenever a hub leaves.
  const workers = ["one", "two", "three", "four"].map((name) => house.startWorker(name, 200));
  const stopFeeding = house.keepBusy();
  await house.succeeded(500, 60_000);
  for (const [at, hub] of [...house.hubs].entries()) {
    hub.kill("SIGTERM");
    await hub.exited();
    await house.startHub(at);
    const before = await house.count("select count(*)::integer as count from job where state = 6");
    await house.succeeded(before + 500, 60_000);
  }
  const jobs = await stopFeeding();
  await house.succeeded(jobs, 60_000);
  await checkContract(house.postgres.url, { jobs });
  expect(await house.count("select count(*)::integer as count from job where attempt <> 1")).toBe(0);
  expect(workers.reduce((sum, worker) => sum + worker.counts().started, 0)).toBe(jobs);
}, 240_000);
