// Caps and budgets while hubs and workers are killed: what is in flight, and what is held, settled and refunded.
import { BudgetService } from "@holdfast/gen/holdfast/v1/budget_service_pb";
import { LimitService } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { openRawClient } from "../harness/raw-client.js";
import { until } from "../harness/raw-wait.js";

/** Submitted before each of the faults, so that there are enough in hand whenever one comes. */
const jobsPerFault = 200;
const jobs = 4 * jobsPerFault;
const capMax = 40;
const cost = 100;

test("no cap is passed, and every attempt is settled or refunded once, whichever hub or worker is killed (D18)", async () => {
  const house = await openFaultHouse(2);
  const client = openRawClient(house.hub.grpcAddress);
  await client.call(LimitService.method.set, {
    target: { target: { case: "tenant", value: {} } },
    settings: { settings: { case: "cap", value: { jobsMax: capMax } } },
  });
  await client.call(BudgetService.method.set, {
    product: "default",
    budget: { costMicroUsdMax: BigInt(jobs * cost * 100) },
  });
  client.close();
  const workers = ["one", "two", "three"].map((name) => house.startWorker(name, 700));
  const held = "select count(*)::integer as count from hold";
  let most = 0;
  const looking = setInterval(async () => {
    most = Math.max(most, await house.count(held).catch(() => 0));
  }, 20);
  const submit = () => house.submit(jobsPerFault, { estimate: { costMicroUsd: BigInt(cost) } });

  for (const at of [0, 1, 0]) {
    await submit();
    await until(async () => (await house.count(held)) >= capMax / 2, "jobs in hand", 60_000);
    house.hubs[at]?.kill("SIGKILL");
    await house.hubs[at]?.exited();
    await house.startHub(at);
  }
  await submit();
  await until(async () => (await house.count(held)) >= capMax / 4, "jobs in hand again", 60_000);
  workers[0]?.kill("SIGKILL");
  await house.succeeded(jobs, 120_000);
  clearInterval(looking);

  expect(most).toBeGreaterThan(capMax / 4);
  expect(most).toBeLessThanOrEqual(capMax);
  await checkContract(house.postgres.url, { jobs });
  const left = "select coalesce(max(jobs) + max(open_cost), -1)::integer as count from meter_level";
  expect(await house.count(left)).toBe(0);
  const settled = `
    select (m.settled_cost + coalesce((select sum(e.settled_cost) from hold_end e where e.meter_id = m.meter_id), 0))::integer
      as count
    from meter m join gate g on g.gate_id = m.meter_id where g.type = 2`;
  expect(await house.count(settled)).toBe(jobs * cost);
}, 300_000);
