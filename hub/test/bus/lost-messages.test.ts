import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { JobEventType } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService, type WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { RevokeReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NatsServer } from "../../src/nats/nats-server.js";
import { useNats } from "../harness/nats.js";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, inMs, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

describe.each(["is stopped", "was never there"] as const)("while NATS %s", (how) => {
  const nats = useNats();
  const house = useHub({
    get natsUrl() {
      return how === "is stopped" ? nats.url() : "nats://127.0.0.1:1";
    },
  });
  let here: RawClient;
  let there: RawClient;
  let thereAddress: string;
  beforeAll(async () => {
    here = house.client();
    thereAddress = (await house.startPeer()).grpcAddress;
    there = openRawClient(thereAddress);
    await (nats.servers()[0] as NatsServer).kill();
  });
  afterAll(() => there.close());

  const leasedThere = async (kind: string, job: Parameters<typeof submitOne>[1] = {}) => {
    const worker = await attachWorker(there, { kinds: [kind] });
    const jobId = await submitOne(there, { ...job, kind });
    worker.credit(1);
    return { worker, jobId, lease: await worker.lease() };
  };

  it("the hubs say so, and serve", async () => {
    await until(() => house.lines.some((line) => /warning: NATS .*(away|cannot)/.test(line)), "a warning");

    const { worker, lease } = await leasedThere("served");

    expect((await worker.succeed(lease)).jobId).toBe(lease.jobId);
  });

  it("a cancel on one hub still reaches the worker on another, from the ledger (D4)", async () => {
    const { worker, jobId, lease } = await leasedThere("cancelled");

    await here.call(JobService.method.cancel, { jobId, reason: "not wanted" });

    expect((await worker.stream.next("revoke")).leases).toMatchObject([
      {
        jobId,
        fencingToken: lease.fencingToken,
        reason: RevokeReason.CANCELLED,
        grace: { seconds: 0n, nanos: 0 },
        message: "not wanted",
      },
    ]);
  });

  it("a cancel with grace is told once with what is left of it, and once when it is over (D4)", async () => {
    const { worker, jobId } = await leasedThere("graceful");

    await here.call(JobService.method.cancel, { jobId, grace: duration(5_000) });

    const [warned] = (await worker.stream.next("revoke")).leases;
    expect(warned).toMatchObject({ jobId, reason: RevokeReason.CANCELLED });
    expect(Number(warned?.grace?.seconds)).toBeLessThan(5);
    const [ended] = (await worker.stream.next("revoke")).leases;
    expect(ended).toMatchObject({ jobId, grace: { seconds: 0n, nanos: 0 } });
  });

  it("a deadline that another hub noticed still reaches the worker (D8)", async () => {
    const { worker, jobId } = await leasedThere("late", { deadline: inMs(900) });

    expect((await worker.stream.next("revoke")).leases).toMatchObject([
      { jobId, reason: RevokeReason.DEADLINE },
    ]);
  });

  it("a Watch still sees what happens on another hub (D20)", async () => {
    const { worker, jobId, lease } = await leasedThere("watched");
    const updates: WatchResponse[] = [];
    const ended = (async () => {
      for await (const update of here.serverStream(JobService.method.watch, { targets: [{ jobId }] }))
        updates.push(update);
    })();
    await until(() => updates.length === 2, "the history");

    await worker.succeed(lease);

    await ended;
    expect(updates.at(-1)?.update.value).toMatchObject({ type: JobEventType.SUCCEEDED });
  });

  it("a lane that another hub made is still found", async () => {
    const worker = await attachWorker(there, { kinds: ["new-lane"] });
    worker.credit(1);

    const jobId = await submitOne(here, { kind: "new-lane" });

    expect((await worker.lease()).jobId).toBe(jobId);
  });

  it("a key that another hub revoked still ends its watches", async () => {
    const scopes = ["access:admin", "jobs:submit", "jobs:read"];
    const { apiKey: adminKey } = await here.call(AccessService.method.createKey, {
      subject: "admin",
      scopes,
    });
    const admin = house.client({ apiKey: adminKey });
    const { apiKey, key } = await admin.call(AccessService.method.createKey, { subject: "someone", scopes });
    const isClosed = async () =>
      (await there.refused(JobService.method.submit, {})).reason === "UNAUTHENTICATED";
    await until(isClosed, "the other hub to be closed");
    const someone = openRawClient(thereAddress, { apiKey });
    const jobId = await submitOne(someone, { kind: "keyed" });
    const updates: WatchResponse[] = [];
    const watch = (async () => {
      for await (const update of someone.serverStream(JobService.method.watch, { targets: [{ jobId }] }))
        updates.push(update);
    })().catch((failure: unknown) => failure);
    await until(() => updates.length > 0, "the watch");

    await admin.call(AccessService.method.revokeKey, { keyId: key?.keyId ?? "" });

    expect(await watch).toMatchObject({ reason: "UNAUTHENTICATED" });
    someone.close();
  });

  if (how === "was never there") return;

  it("the hubs find it again when it is back, wiped or not", async () => {
    const before = house.lines.filter((line) => /^NATS at/.test(line)).length;

    await (nats.servers()[0] as NatsServer).start({ isWiped: true });

    await until(
      () => house.lines.filter((line) => /^NATS at/.test(line)).length >= before + 2,
      "both hubs to be back",
    );
  });
});
