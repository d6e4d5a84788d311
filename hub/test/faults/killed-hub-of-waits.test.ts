// Jobs that wait for signals while the hubs that they wait at, are published at and are woken by are killed.
import { createClient } from "@holdfast/worker";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const jobs = 60;
const waits = 3;

test("every job gets every signal that it waits for, in order, whichever hub is killed in between (D3, D4, D11)", async () => {
  const house = await openFaultHouse(2);
  const eye = new pg.Client({ connectionString: house.postgres.url, options: "-c search_path=holdfast" });
  await eye.connect();
  onTestFinished(() => eye.end());
  await house.submit(jobs);
  const { rows } = await eye.query<{ id: string }>("select id from job order by id");
  const client = createClient({ addresses: house.hubs.map(({ grpcAddress }) => grpcAddress) });
  onTestFinished(() => client.close());
  house.startWorker("waiting", 0, { waits });

  for (let round = 0; round < waits; round += 1) {
    const published = Promise.all(
      rows.map(({ id }) => client.publish({ jobId: id, name: "go" }, `signal ${round + 1}`)),
    );
    house.hubs[round % 2]?.kill("SIGKILL");
    await house.hubs[round % 2]?.exited();
    await house.startHub(round % 2);
    await published;
  }
  await house.succeeded(jobs, 90_000);

  expect(await house.count("select count(*)::integer as count from suspended")).toBe(0);
  expect(await house.count("select count(*)::integer as count from channel_partition where is_waking")).toBe(
    0,
  );
  expect(await house.count("select sum(last_sequence)::integer as count from channel_partition")).toBe(
    jobs * waits,
  );
  await checkContract(house.postgres.url, { jobs });
}, 180_000);
