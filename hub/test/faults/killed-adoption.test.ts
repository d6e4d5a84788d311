// Hubs that are killed while they adopt what applications submitted from SQL.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const transactions = 400;
const jobsEach = 20;

test("hubs killed in the middle of adopting lose none of what committed, double none, and take nothing that was rolled back (D1, D3)", async () => {
  const house = await openFaultHouse(2);
  house.startWorker("one", 0);
  const client = new pg.Client({
    connectionString: house.postgres.url,
    application_name: "holdfast-test-app",
  });
  await client.connect();
  const ids: string[] = [];
  const feeding = (async () => {
    for (let at = 0; at < transactions; at += 1) {
      await client.query("begin");
      const made = await client.query<{ id: string }>(
        "select holdfast.submit('work') as id from generate_series(1, $1)",
        [jobsEach],
      );
      const isKept = at % 4 !== 3;
      await client.query(isKept ? "commit" : "rollback");
      if (isKept) ids.push(...made.rows.map((row) => row.id));
      await sleep(2);
    }
  })();

  for (let kills = 0; kills < 4; kills += 1) {
    await house.succeeded((kills + 1) * 600);
    const hub = house.hubs[kills % 2];
    hub?.kill("SIGKILL");
    await hub?.exited();
    await house.startHub(kills % 2);
  }
  await feeding;
  await client.end();
  await house.succeeded(ids.length);

  expect(ids).toHaveLength(transactions * 0.75 * jobsEach);
  expect(await house.count("select count(*)::integer as count from job where id = any($1)", [ids])).toBe(
    ids.length,
  );
  expect(await house.count("select count(*)::integer as count from inbox")).toBe(0);
  await checkContract(house.postgres.url, { jobs: ids.length });
}, 90_000);
