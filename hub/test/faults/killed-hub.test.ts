import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const jobs = 20_000;

test("a hub that is killed in the middle, and started again, loses no job; its workers come back by themselves (D1, D3, D5, D6, D20)", async () => {
  const house = await openFaultHouse();
  await house.submit(jobs);
  const workers = ["one", "two"].map((name) => house.startWorker(name));
  await house.succeeded(jobs / 4);
  house.hub.kill("SIGKILL");
  await house.hub.exited();
  const before = workers.map((worker) => worker.counts().committed);
  await house.startHub();
  await house.succeeded(jobs);
  await checkContract(house.postgres.url, { jobs });
  for (const [at, worker] of workers.entries())
    expect(worker.counts().committed).toBeGreaterThan(before[at] as number);
}, 40_000);
