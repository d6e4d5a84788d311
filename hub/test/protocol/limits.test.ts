import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { LimitService, LimitType } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { describe, expect, it } from "vitest";
import { openRawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

const house = useHub();
const { set, remove, get, list } = LimitService.method;
const pause = { settings: { case: "pause", value: {} } } as const;
const everyDay = { days: [], fromMinute: 0, toMinute: 0 };

function queueOf(name: string) {
  return { target: { case: "queue", value: { product: "default", queue: name } } } as const;
}

describe("a limit", () => {
  it("lets nothing of its target start while it is shut, and everything else (D23)", async () => {
    const client = house.client();
    const worker = await attachWorker(client, { kinds: ["post"] });
    const target = queueOf("mail");
    const { limit } = await client.call(set, {
      target,
      settings: pause,
      justification: { reason: "the provider is down", ticket: "OPS-1" },
    });
    expect(limit).toMatchObject({ shut: true, note: "the provider is down", parkedJobs: 0 });
    const [held = ""] = await submitMany(client, [{ kind: "post", queue: "mail" }]);
    const free = await submitOne(client, { kind: "post", queue: "letters" });

    worker.credit(10);

    expect((await worker.lease()).jobId).toBe(free);
    const told = await client.call(JobService.method.explain, { jobId: held });
    expect(told.reasons[0]).toMatchObject({
      cause: WaitCause.GATE,
      message: "queue:default/mail is paused: the provider is down",
    });
    expect(told.gates).toMatchObject([{ type: "pause", target: "queue:default/mail", shut: true }]);
    const seen = await client.call(get, { target, type: LimitType.PAUSE });
    expect(seen.limit?.waiting).toMatchObject([{ queue: "mail", kind: "post", window: 1 }]);
    expect(await getJob(client, held)).toMatchObject({ state: JobState.READY, attempt: 0 });

    await client.call(remove, { target, type: LimitType.PAUSE });

    expect((await worker.lease()).jobId).toBe(held);
    expect(worker.leases).toHaveLength(2);
  });

  it("that one hub set is in force on another that has not heard of it (D23)", async () => {
    const peer = await house.startPeer();
    const there = openRawClient(peer.grpcAddress);
    try {
      const worker = await attachWorker(there, { kinds: ["elsewhere"] });
      worker.credit(100);
      for (let round = 0; round < 5; round += 1) {
        const target = { target: { case: "product", value: `shop-${round}` } } as const;
        await house.client().call(set, { target, settings: pause });
        const jobId = await submitOne(there, { kind: "elsewhere", product: `shop-${round}` });
        const free = await submitOne(there, { kind: "elsewhere", product: "free" });
        await until(async () => worker.leases.some((lease) => lease.jobId === free), "the free one to start");
        expect(worker.leases.map((lease) => lease.jobId)).not.toContain(jobId);
        expect(await getJob(there, jobId)).toMatchObject({ state: JobState.READY, fencingToken: 0n });
      }
    } finally {
      there.close();
    }
  });

  it("opens for what was parked there when it is removed, best score first", async () => {
    const client = house.client();
    const target = queueOf("parked");
    await client.call(set, { target, settings: pause });
    const ids = await submitMany(
      client,
      Array.from({ length: 3 }, () => ({ kind: "parked", queue: "parked" })),
    );
    await house.query("update job set state = 4 where id = any($1)", [ids]);
    await house.query(
      `insert into parked (job_id, gate_id, reason, score)
       select id, gate_id, 'it was full', n from unnest($1::uuid[]) with ordinality as j (id, n)
       cross join gate where target = 'queue:default/parked'`,
      [ids],
    );
    const told = await client.call(JobService.method.explain, { jobId: ids[0] as string });
    expect(told.reasons[0]).toMatchObject({ cause: WaitCause.GATE, message: "it was full" });
    expect((await client.call(get, { target, type: LimitType.PAUSE })).limit?.parkedJobs).toBe(3);
    const worker = await attachWorker(client, { kinds: ["parked"] });
    worker.credit(10);

    await client.call(remove, { target, type: LimitType.PAUSE });

    const started = [await worker.lease(), await worker.lease(), await worker.lease()];
    expect(started.map(({ jobId }) => jobId)).toEqual([...ids].reverse());
    const { history } = await client.call(JobService.method.get, {
      jobId: ids[0] as string,
      includeHistory: true,
    });
    expect(history.map(({ type, reason }) => [type, reason])).toContainEqual([
      JobEventType.READY,
      "GATE_OPEN",
    ]);
  });

  it("is listed with its live state, and its changes with who made them and why", async () => {
    const client = house.client();
    const target = queueOf("nights");
    const blackout = { timeZone: "Europe/Berlin", windows: [everyDay] };
    await client.call(set, {
      target,
      settings: { settings: { case: "blackout", value: blackout } },
      justification: { reason: "quiet nights", ticket: "OPS-9" },
    });

    const { limits } = await client.call(list, { type: LimitType.BLACKOUT, shutOnly: true });

    expect(limits).toHaveLength(1);
    expect(limits[0]).toMatchObject({
      target,
      shut: true,
      reason: "queue:default/nights is in a blackout window",
      settings: { settings: { case: "blackout", value: { windows: [{ days: [1, 2, 3, 4, 5, 6, 7] }] } } },
    });
    expect(limits[0]?.until).toBeDefined();
    const { operations } = await client.call(OperationService.method.list, {
      target: "queue:default/nights",
    });
    expect(operations).toMatchObject([
      { action: "blackout.set", justification: { reason: "quiet nights", ticket: "OPS-9" } },
    ]);
  });
});

describe("a limit is refused", () => {
  it.each([
    ["without a target", { settings: pause }, "target"],
    ["without settings", { target: queueOf("a") }, "settings"],
    ["for a queue without a name", { target: queueOf(""), settings: pause }, "target.queue.queue"],
    [
      "in a time zone that does not exist",
      {
        target: queueOf("a"),
        settings: { settings: { case: "blackout", value: { timeZone: "Mars/North" } } },
      },
      "settings.blackout.time_zone",
    ],
    [
      "with a day that does not exist",
      {
        target: queueOf("a"),
        settings: { settings: { case: "blackout", value: { windows: [{ ...everyDay, days: [8] }] } } },
      },
      "settings.blackout.windows[0].days",
    ],
  ] as const)("%s", async (_, request, field) => {
    const refused = await house.client().refused(set, request as never);
    expect(refused).toMatchObject({ code: 3, reason: "INVALID_FIELD", metadata: { field } });
  });

  it("when it is to be removed or shown and is not there", async () => {
    const absent = { target: queueOf("nowhere"), type: LimitType.PAUSE };
    const refusal = { code: 5, reason: "LIMIT_NOT_FOUND" };
    expect(await house.client().refused(remove, absent)).toMatchObject(refusal);
    expect(await house.client().refused(get, absent)).toMatchObject(refusal);
  });
});
