import { JobEventType } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { until } from "../harness/raw-wait.js";

const jobs = 20_000;

test("a worker that is killed in the middle, and started again on its journal, loses no job and repeats no end (D3, D4, D5, D6)", async () => {
  const house = await openFaultHouse();
  await house.submit(jobs);
  house.startWorker("steady");
  const killed = house.startWorker("killed");
  await house.succeeded(jobs / 4);
  await until(() => killed.counts().committed > 0, "work of the worker that is to be killed");
  killed.kill("SIGKILL");
  await killed.exited();
  const again = house.startWorker("killed");
  await house.succeeded(jobs);
  await until(() => again.counts().committed > 0, "verdicts for the worker that came back");
  expect(await house.events(JobEventType.LEASED)).toBeGreaterThan(jobs);
  await checkContract(house.postgres.url, { jobs });
}, 40_000);
