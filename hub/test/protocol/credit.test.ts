import { expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

const house = useHub({ creditJobsMax: 500, creditBytesMax: 8 << 20 });

/** A small generator with a seed, so that a failure can be repeated (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

test("whatever credit is granted, and whenever, no message goes beyond it in jobs or in bytes", async () => {
  const seed = Date.now() % 100_000;
  const random = randomOf(seed);
  const client = house.client();
  const sizes = Array.from({ length: 600 }, () => random(3) * random(2_000));
  await submitMany(
    client,
    sizes.map((size) => ({ kind: "sized", payload: Buffer.alloc(size) })),
  );
  const worker = await attachWorker(client, { kinds: ["sized"] });
  let grantedJobs = 0;
  let grantedBytes = 0;
  let sentJobs = 0;
  let sentBytes = 0;
  const broken: string[] = [];
  worker.stream.onMessage((message) => {
    if (message.case !== "leases") return;
    for (const lease of message.value.leases) {
      sentJobs += 1;
      sentBytes += lease.payload.length;
    }
    if (sentJobs > grantedJobs || sentBytes > grantedBytes)
      broken.push(`${sentJobs} of ${grantedJobs} jobs, ${sentBytes} of ${grantedBytes} bytes`);
  });
  const total = sizes.reduce((sum, size) => sum + size, 0);
  await until(
    () => {
      if (sentJobs === sizes.length) return true;
      const jobs = Math.min(random(20), 400 - (grantedJobs - sentJobs));
      const bytes = Math.min(random(8_000), (4 << 20) - (grantedBytes - sentBytes));
      grantedJobs += jobs;
      grantedBytes += bytes;
      worker.credit(jobs, bytes);
      return false;
    },
    `every job delivered (seed ${seed})`,
    20_000,
  );
  expect(broken, `seed ${seed}`).toEqual([]);
  expect([sentJobs, sentBytes]).toEqual([sizes.length, total]);
});

test("credit in jobs without bytes, or in bytes without jobs, leases nothing", async () => {
  const client = house.client();
  await submitOne(client, { kind: "both", payload: Buffer.alloc(100) });
  const jobsOnly = await attachWorker(client, { kinds: ["both"] });
  const bytesOnly = await attachWorker(client, { kinds: ["both"] });
  const bytesShort = await attachWorker(client, { kinds: ["both"] });
  jobsOnly.credit(10, 0);
  bytesOnly.credit(0, 10_000);
  bytesShort.credit(10, 99);
  // An echo comes after whatever the credit before it led to at once.
  for (const { stream } of [jobsOnly, bytesOnly, bytesShort]) {
    await stream.next("heartbeat");
    await stream.next("heartbeat");
  }
  expect([jobsOnly, bytesOnly, bytesShort].flatMap((worker) => worker.leases)).toEqual([]);
  bytesShort.credit(0, 1);
  expect((await bytesShort.lease()).payload).toHaveLength(100);
});

test("a checkpoint counts against the credit in bytes of the next attempt", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "saved", payload: Buffer.alloc(100) });
  const worker = await attachWorker(client, { kinds: ["saved"] });
  worker.credit(1, 100);
  const { fencingToken } = await worker.lease();
  const checkpoint = { jobId, fencingToken, sequence: 1n, state: Buffer.alloc(50) };
  worker.stream.send({ case: "checkpoint", value: checkpoint }, worker.delivered());
  await worker.stream.next("checkpointSaved");
  worker.stream.send({ case: "release", value: { leases: [{ jobId, fencingToken, started: true }] } });
  worker.credit(1, 149);
  await worker.stream.next("heartbeat");
  await worker.stream.next("heartbeat");
  expect(worker.leases).toHaveLength(1);
  worker.credit(0, 1);
  expect((await worker.lease()).checkpoint?.state).toHaveLength(50);
});

test("a lease that is delivered anew after a reconnect spends only what the new stream granted", async () => {
  const client = house.client();
  await submitMany(
    client,
    Array.from({ length: 20 }, () => ({ kind: "anew" })),
  );
  const first = await attachWorker(client, { kinds: ["anew"] });
  first.stopAcknowledging();
  first.credit(10, 1 << 20);
  await until(() => first.leases.length === 10, "ten leases");
  first.vanish();
  const second = await attachWorker(client, { kinds: ["anew"], sessionId: first.welcome.sessionId });
  expect(second.welcome.resumed).toBe(true);
  await second.stream.next("heartbeat");
  expect(second.leases).toEqual([]);
  second.credit(20, 1 << 20);
  await until(() => second.leases.length === 20, "all twenty, the ten that were lost among them");
  expect(second.leases.every((lease) => lease.attempt === 1)).toBe(true);
});

for (const [what, jobs, bytes] of [
  ["jobs", 501, 1],
  ["bytes", 1, (8 << 20) + 1],
] as const)
  test(`more credit than the limit in ${what} ends the stream, and no other`, async () => {
    const client = house.client();
    const neighbour = await attachWorker(client);
    const atOnce = await attachWorker(client);
    atOnce.credit(jobs, bytes);
    expect(await atOnce.stream.ended).toMatchObject({ code: 3, domain: "holdfast", reason: "INVALID_FIELD" });
    const bySum = await attachWorker(client);
    bySum.credit(300, 5 << 20);
    bySum.credit(300, 5 << 20);
    expect(await bySum.stream.ended).toMatchObject({
      code: 3,
      domain: "holdfast",
      reason: "CREDIT_OVERFLOW",
      metadata: { jobs_max: "500", bytes_max: String(8 << 20) },
    });
    await neighbour.stream.next("heartbeat");
  });
