import { DisconnectPolicy, JobEventType } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { until } from "../harness/raw-wait.js";

const jobs = 20_000;

test("a worker that is stopped beyond its session's life, and goes on then, finishes nothing twice: what it reports late is refused (D3, D4, D5, D6)", async () => {
  const house = await openFaultHouse();
  await house.submit(jobs, { disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT });
  house.startWorker("steady");
  // Its jobs take long enough that some are running whenever it is stopped.
  const stopped = house.startWorker("stopped", 300);
  await house.succeeded(jobs / 8);
  await until(() => stopped.counts().committed > 0, "work of the worker that is to be stopped");
  stopped.kill("SIGSTOP");
  const takenBack = [JobEventType.RELEASED, JobEventType.EXPIRED];
  await until(async () => (await house.events(...takenBack)) > 0, "its jobs taken back");
  const before = stopped.counts();
  stopped.kill("SIGCONT");
  await until(() => stopped.counts().started > before.started, "new work of the worker that goes on");
  await house.succeeded(jobs);
  await until(() => stopped.counts().stale > 0, "the refusal of what it reported late");
  expect(await house.events(JobEventType.SUCCEEDED)).toBe(jobs);
  await checkContract(house.postgres.url, { jobs });
}, 40_000);
