import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import {
  BreakerPhase,
  type Limit,
  LimitService,
  LimitType,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { describe, expect, it } from "vitest";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure, type RawWorker } from "../harness/raw-worker.js";

const house = useHub();
const { set, remove, get } = LimitService.method;
const audited = { reason: "agreed", ticket: "OPS-1" };

function source(name: string) {
  return { target: { case: "source", value: name } } as const;
}

function bucketOf(ratePerSecond: number, capacity: number, isAdaptive = false) {
  const adaptive = isAdaptive ? { adaptive: { recovery: duration(5_000) } } : {};
  const value = { ratePerSecond, capacity: BigInt(capacity), ...adaptive };
  return { settings: { case: "bucket", value } } as const;
}

/** Opens at two failures of two, probes with one job after a second. */
const touchy = {
  settings: {
    case: "breaker",
    value: { minSamples: 2, coolDown: duration(1_000), maxCoolDown: duration(1_000), probes: 1 },
  },
} as const;

async function limitOf(client: RawClient, name: string, type: LimitType): Promise<Limit> {
  return (await client.call(get, { target: source(name), type })).limit as Limit;
}

function jobsOf(kind: string, name: string, count: number) {
  return Array.from({ length: count }, () => ({ kind, source: name }));
}

async function leasesOf(worker: RawWorker, count: number): Promise<void> {
  await until(async () => worker.leases.length >= count, `${count} jobs to start`);
}

describe("a token bucket", () => {
  it("lets so many start at once, holds the rest and says so, and holds up nobody else", async () => {
    const client = house.client();
    await client.call(set, { target: source("scarce"), settings: bucketOf(0.001, 3) });
    const ids = await submitMany(client, jobsOf("scarce", "scarce", 10));
    const worker = await attachWorker(client, { kinds: ["scarce"] });
    worker.credit(100);
    await leasesOf(worker, 3);
    const free = await submitMany(
      client,
      Array.from({ length: 50 }, () => ({ kind: "scarce" })),
    );
    await leasesOf(worker, 53);

    const started = worker.leases.map(({ jobId }) => jobId);
    expect(started.slice(0, 3)).toEqual(ids.slice(0, 3));
    expect(started.slice(3)).toEqual(free);
    await until(async () => {
      const told = await client.call(JobService.method.explain, { jobId: ids[9] as string });
      return told.reasons[0]?.cause === WaitCause.GATE && told.gates[0]?.until !== undefined;
    }, "the wait to be explained");
    const limit = await limitOf(client, "scarce", LimitType.BUCKET);
    expect(limit).toMatchObject({
      shut: true,
      reason: "source:scarce: 0.001 starts a second, 3 at once, are used up",
      waiting: [{ kind: "scarce", source: "scarce" }],
    });
    expect(await getJob(client, ids[9] as string)).toMatchObject({ state: JobState.READY, fencingToken: 0n });

    await client.call(remove, { target: source("scarce"), type: LimitType.BUCKET });
    await leasesOf(worker, 60);
  });

  it("is one for all hubs (D19)", async () => {
    const client = house.client();
    await client.call(set, { target: source("shared"), settings: bucketOf(0.001, 20) });
    const peer = await house.startPeer();
    const there = openRawClient(peer.grpcAddress);
    try {
      const workers = [
        await attachWorker(client, { kinds: ["shared"] }),
        await attachWorker(there, { kinds: ["shared"] }),
      ];
      await Promise.all([client, there].map((one) => submitMany(one, jobsOf("shared", "shared", 30))));
      for (const worker of workers) worker.credit(100);
      const started = () => workers.reduce((sum, { leases }) => sum + leases.length, 0);

      await until(async () => started() >= 20, "the bucket to be used up");
      await until(async () => {
        const { bucket } = await limitOf(client, "shared", LimitType.BUCKET);
        return bucket !== undefined && bucket.level < 1 && bucket.drawn === 0n;
      }, "all chunks to be settled");
      expect(started()).toBe(20);
    } finally {
      there.close();
    }
  });

  it("that adapts slows down when the source asks to, once for all that it refuses, and waits as long as asked", async () => {
    const client = house.client();
    await client.call(set, { target: source("touchy"), settings: bucketOf(1_000, 1_000, true) });
    await submitMany(client, jobsOf("touchy", "touchy", 20));
    const worker = await attachWorker(client, { kinds: ["touchy"] });
    worker.credit(20);
    await leasesOf(worker, 20);

    await Promise.all(
      worker.leases.map((lease) => worker.report(lease, failure("HTTP_429", { retryAfterMs: 60_000 }))),
    );

    await until(
      async () => (await limitOf(client, "touchy", LimitType.BUCKET)).bucket?.waitsUntil !== undefined,
      "the bucket to slow down",
    );
    const limit = await limitOf(client, "touchy", LimitType.BUCKET);
    expect(limit).toMatchObject({ shut: true, reason: "source:touchy: the service asked to wait" });
    expect(limit.bucket?.ratePerSecond).toBe(500);
    const late = await submitOne(client, { kind: "touchy", source: "touchy" });
    const other = await submitOne(client, { kind: "touchy", source: "other" });
    worker.credit(10);
    await leasesOf(worker, 21);
    expect(worker.leases.at(-1)?.jobId).toBe(other);
    expect(await getJob(client, late)).toMatchObject({ state: JobState.READY, attempt: 0 });
  });
});

describe("a throttle report", () => {
  it("slows the bucket of the job's source down, while the job goes on", async () => {
    const client = house.client();
    await client.call(set, { target: source("patient"), settings: bucketOf(1_000, 1_000, true) });
    const jobId = await submitOne(client, { kind: "patient", source: "patient" });
    const worker = await attachWorker(client, { kinds: ["patient"] });
    worker.credit(1);
    const { fencingToken } = await worker.lease();
    const report = (token: bigint, retryAfterMs: number) =>
      worker.stream.send({
        case: "throttle",
        value: { jobId, fencingToken: token, retryAfter: duration(retryAfterMs) },
      });

    report(fencingToken + 1n, 3_600_000);
    report(fencingToken, 60_000);

    await until(
      async () => (await limitOf(client, "patient", LimitType.BUCKET)).bucket?.waitsUntil !== undefined,
      "the bucket to slow down",
    );
    const { until: waitsUntil } = await limitOf(client, "patient", LimitType.BUCKET);
    expect(Number(waitsUntil?.seconds) * 1_000 - Date.now()).toBeLessThan(600_000);
    const verdict = await worker.succeed({ jobId, fencingToken });
    expect(verdict.state).toBe(JobState.SUCCEEDED);
  });

  it.each([
    ["of a time that is too long", { retryAfter: duration(86_400_001) }, "throttle.retry_after"],
    ["of no job", { jobId: "" }, "throttle.job_id"],
  ])("%s ends the stream", async (_, wrong, field) => {
    const worker = await attachWorker(house.client(), { kinds: ["wrong"] });
    const jobId = "01a1fedc-0000-7000-8000-000000000000";
    worker.stream.send({ case: "throttle", value: { jobId, fencingToken: 1n, ...wrong } });
    expect(await worker.stream.ended).toMatchObject({ reason: "INVALID_FIELD", metadata: { field } });
  });
});

describe("a quota", () => {
  it("lets so many start in its window, over all that its target has, and is changed for a reason", async () => {
    const client = house.client();
    const target = { target: { case: "product", value: "small" } } as const;
    const quota = {
      settings: { case: "quota", value: { maxStarts: 2n, window: duration(604_800_000) } },
    } as const;
    expect(await client.refused(set, { target, settings: quota })).toMatchObject({
      reason: "AUDIT_FIELDS_MISSING",
    });
    await client.call(set, { target, settings: quota, justification: audited });
    const worker = await attachWorker(client, { kinds: ["counted"] });
    worker.credit(100);
    const job = (queue: string) => ({ kind: "counted", product: "small", queue });
    await submitMany(client, [job("a"), job("b"), job("a"), job("b")]);
    await leasesOf(worker, 2);
    await submitOne(client, { kind: "counted", product: "large" });
    await leasesOf(worker, 3);
    expect(worker.leases.filter(({ product }) => product === "small")).toHaveLength(2);
    const { limit } = await client.call(get, { target, type: LimitType.QUOTA });
    expect(limit).toMatchObject({ shut: true, quota: { used: 2n } });
    expect(limit?.until).toEqual(limit?.quota?.windowEnds);

    const more = {
      settings: { case: "quota", value: { maxStarts: 3n, window: duration(604_800_000) } },
    } as const;
    await client.call(set, { target, settings: more, justification: audited });
    await leasesOf(worker, 4);
    expect(worker.leases).toHaveLength(4);
  });
});

describe("a breaker", () => {
  it("opens when the source fails, lets one probe through, and closes when it is answered", async () => {
    const client = house.client();
    await client.call(set, { target: source("broken"), settings: touchy });
    const worker = await attachWorker(client, { kinds: ["fragile"] });
    await submitMany(client, jobsOf("fragile", "broken", 2));
    worker.credit(100);
    await leasesOf(worker, 2);

    for (const lease of worker.leases)
      await worker.report(lease, failure("ECONNREFUSED", { permanent: true }));

    await until(
      async () => (await limitOf(client, "broken", LimitType.BREAKER)).breaker?.phase !== BreakerPhase.CLOSED,
      "the breaker to open",
    );
    await submitMany(client, jobsOf("fragile", "broken", 3));
    await leasesOf(worker, 3);
    const probing = await limitOf(client, "broken", LimitType.BREAKER);
    expect(probing.breaker).toMatchObject({
      phase: BreakerPhase.HALF_OPEN,
      turns: [{ to: BreakerPhase.OPEN, why: "2 of 2 failed" }, { to: BreakerPhase.HALF_OPEN }],
    });
    expect(worker.leases).toHaveLength(3);
    expect(house.lines.join("\n")).toMatch(/the breaker of source:broken \(tenant 1\) is open/);

    await worker.succeed(worker.leases[2] as (typeof worker.leases)[number]);

    await leasesOf(worker, 5);
    const closed = await limitOf(client, "broken", LimitType.BREAKER);
    expect(closed.breaker?.phase).toBe(BreakerPhase.CLOSED);
  });

  it("opens on no other failure: what answers is not broken", async () => {
    const client = house.client();
    await client.call(set, { target: source("strict"), settings: touchy });
    const worker = await attachWorker(client, { kinds: ["refused"] });
    worker.credit(100);
    await submitMany(client, jobsOf("refused", "strict", 4));
    await leasesOf(worker, 4);
    const codes = ["HTTP_404", "SCHEMA_MISMATCH", "HTTP_400", "HTTP_429"];
    for (const [at, code] of codes.entries())
      await worker.report(
        worker.leases[at] as (typeof worker.leases)[number],
        failure(code, { permanent: true }),
      );
    await until(
      async () => (await limitOf(client, "strict", LimitType.BREAKER)).breaker?.answered === 4n,
      "the outcomes to be counted",
    );
    expect(await limitOf(client, "strict", LimitType.BREAKER)).toMatchObject({
      shut: false,
      breaker: { failed: 0n },
    });
  });
});

describe("a rate limit is refused", () => {
  const tenant = { target: { case: "tenant", value: {} } } as const;
  it.each([
    ["without a rate", source("a"), bucketOf(0, 1), "settings.bucket.rate_per_second"],
    [
      "with a rate that is no number",
      source("a"),
      bucketOf(Number.NaN, 1),
      "settings.bucket.rate_per_second",
    ],
    ["with too small a capacity", source("a"), bucketOf(100, 49), "settings.bucket.capacity"],
    ["when it is to adapt to many services", tenant, bucketOf(1, 1, true), "settings.bucket.adaptive"],
    ["as a breaker of many services", tenant, touchy, "target"],
    [
      "as a quota of nothing",
      tenant,
      { settings: { case: "quota", value: { maxStarts: 0n } } },
      "settings.quota.max_starts",
    ],
    [
      "with a share of more than all",
      source("a"),
      { settings: { case: "breaker", value: { failureRatio: 1.1 } } },
      "settings.breaker.failure_ratio",
    ],
    [
      "with a cool-down that shrinks",
      source("a"),
      { settings: { case: "breaker", value: { coolDown: duration(9_000), maxCoolDown: duration(8_000) } } },
      "settings.breaker.max_cool_down",
    ],
  ] as const)("%s", async (_, target, settings, field) => {
    const refused = await house.client().refused(set, { target, settings, justification: audited } as never);
    expect(refused).toMatchObject({ code: 3, reason: "INVALID_FIELD", metadata: { field } });
  });
});
