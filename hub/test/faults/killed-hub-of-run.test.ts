import { createClient } from "@holdfast/worker";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const layers = 4;
const layerJobs = 750;

test("a hub that is killed in the middle of a run, and started again, ends each of its jobs once, and none starts before what it waits for ended (D1, D3, D5, D20)", async () => {
  const house = await openFaultHouse();
  const client = createClient({ address: house.hub.grpcAddress });
  // Layers, each job after two of the layer before; added while the ones before are there already.
  const layer = (at: number) =>
    Array.from({ length: layerJobs }, (_, n) => ({
      kind: "work",
      idempotencyKey: `${at}-${n}`,
      dependsOn:
        at === 0
          ? []
          : [
              { idempotencyKey: `${at - 1}-${n}` },
              { idempotencyKey: `${at - 1}-${(n + 1) % layerJobs}`, soft: n % 3 === 0 },
            ],
    }));
  const { runId } = await client.submitRun({
    parent: { kind: "work", idempotencyKey: "run" },
    children: layer(0),
  });
  for (let at = 1; at < layers; at += 1) await client.addChildren(runId, layer(at));
  const jobs = layers * layerJobs + 1;
  house.startWorker("one");
  house.startWorker("two");

  await house.succeeded(jobs / 3);
  house.hub.kill("SIGKILL");
  await house.hub.exited();
  await house.startHub();

  await house.succeeded(jobs, 50_000);
  await checkContract(house.postgres.url, { jobs });
  const { nodes } = await client.getDag(runId);
  expect(nodes).toHaveLength(jobs);
  client.close();
}, 90_000);
