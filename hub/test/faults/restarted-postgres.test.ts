import { test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const jobs = 20_000;

test("a restart of PostgreSQL in the middle loses no job, and hub and workers live through it (D1, D3, D5, D20)", async () => {
  const house = await openFaultHouse();
  await house.submit(jobs);
  house.startWorker("one");
  house.startWorker("two");
  await house.succeeded(jobs / 4);
  await house.postgres.restart();
  await house.succeeded(jobs / 2);
  await house.postgres.restart();
  await house.succeeded(jobs);
  await checkContract(house.postgres.url, { jobs });
}, 40_000);
