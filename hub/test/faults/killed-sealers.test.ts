// Two hubs seal what operators change, and are killed in turns while they do.
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { trustKeys } from "../../src/services/audit-key.js";
import { checkLines, exportLines, operationsIn, pauseQueue } from "../harness/audit-bundles.js";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { openRawClient } from "../harness/raw-client.js";

const rounds = 3;

test("what an operator did is sealed once, in one chain, whichever hub is killed meanwhile (D22)", async () => {
  const house = await openFaultHouse(2);
  const done: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const killed = round % 2;
    const clients = house.hubs.map(({ grpcAddress }) => openRawClient(grpcAddress));
    const acts = clients.flatMap((client, at) =>
      Array.from({ length: 25 }, async (_, n) => {
        const queue = `queue-${round}-${at}-${n}`;
        await pauseQueue(client, queue);
        done.push(queue);
        // Each export seals what is new: the kill falls into many seals.
        await exportLines(client);
      }),
    );
    await acts[killed * 25];
    house.hubs[killed]?.kill("SIGKILL");
    await Promise.allSettled(acts);
    await house.hubs[killed]?.exited();
    for (const client of clients) client.close();
    await house.startHub(killed);
  }

  const client = openRawClient(house.hub.grpcAddress);
  const lines = await exportLines(client);
  client.close();

  await checkLines(lines, await trustKeys([await readFile(`${house.auditKey}.pub`, "utf8")]));
  const targets = operationsIn(lines).map(({ target }) => target);
  expect(new Set(targets).size).toBe(targets.length);
  expect(targets).toEqual(expect.arrayContaining(done.map((queue) => `queue:default/${queue}`)));
  await checkContract(house.postgres.url, { jobs: 0 });
}, 120_000);
