// Keys are the ledger's: what is changed through one hub holds on every other, within the time that one trusts a key it
// has looked up.
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, greeting } from "../harness/raw-worker.js";

const house = useHub();
const { createKey, revokeKey } = AccessService.method;
const { list } = JobService.method;
const { claim, renew } = WorkerService.method;
const unauthenticated = { code: 16, reason: "UNAUTHENTICATED", domain: "holdfast" };

/** 5 s of trust, and what a slow machine takes to notice. */
const boundMs = 5_000 + 2_500;

let peerAddress: string;
const clients: RawClient[] = [];
beforeAll(async () => {
  peerAddress = (await house.startPeer()).grpcAddress;
});
afterAll(() => {
  for (const client of clients) client.close();
});

function atPeer(apiKey?: string): RawClient {
  const client = openRawClient(peerAddress, apiKey === undefined ? {} : { apiKey });
  clients.push(client);
  return client;
}

/** Resolves when the call is refused for want of a good key; answers how long that took. */
async function refusedAfterMs(client: RawClient, beganAtMs: number): Promise<number> {
  const isRefused = () =>
    client.call(list, {}).then(
      () => false,
      (failure) => failure.reason === "UNAUTHENTICATED",
    );
  await until(isRefused, "the peer to refuse the key");
  return Date.now() - beganAtMs;
}

let admin: RawClient;

test("the first key, made on one hub, closes the other, to workers that came without one too", async () => {
  const open = atPeer();
  await open.call(list, {});
  const worker = await attachWorker(open);
  const scopes = ["access:admin", "jobs:read"];

  const { apiKey } = await house.client().call(createKey, { subject: "admin", scopes });
  const madeAtMs = Date.now();

  admin = house.client({ apiKey });
  expect(await refusedAfterMs(open, madeAtMs)).toBeLessThan(boundMs);
  expect(await worker.stream.ended).toMatchObject(unauthenticated);
  await atPeer(apiKey).call(list, {});
});

test("a key that is revoked on one hub is refused on the other, and its streams there end", async () => {
  const scopes = ["workers:attach", "jobs:read"];
  const { apiKey, key } = await admin.call(createKey, { subject: "worker", scopes });
  const { apiKey: goodKey } = await admin.call(createKey, { subject: "other", scopes });
  const client = atPeer(apiKey);
  const worker = await attachWorker(client);
  const neighbour = await attachWorker(atPeer(goodKey));
  const unary = await client.call(claim, { requestId: "1", worker: greeting, maxJobs: 1 });
  const deliveredThrough = 0n;

  await admin.call(revokeKey, { keyId: key?.keyId ?? "" });
  const revokedAtMs = Date.now();

  expect(await worker.stream.ended).toMatchObject(unauthenticated);
  expect(Date.now() - revokedAtMs).toBeLessThan(boundMs);
  // A worker that calls is refused by its session's renewal even while its key is trusted.
  expect(await client.refused(renew, { sessionId: unary.sessionId, deliveredThrough })).toMatchObject(
    unauthenticated,
  );
  expect(await refusedAfterMs(client, revokedAtMs)).toBeLessThan(boundMs);
  const again = client.attach();
  again.send({ case: "hello", value: greeting });
  expect(await again.ended).toMatchObject(unauthenticated);
  await neighbour.stream.next("heartbeat");
});
