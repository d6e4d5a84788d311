import { BudgetService } from "@holdfast/gen/holdfast/v1/budget_service_pb";
import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import { InFlightPolicy, JobEventType, JobState, Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { BudgetWindow, LimitService, LimitType } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { ProductService } from "@holdfast/gen/holdfast/v1/product_service_pb";
import { RevokeReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { describe, expect, it } from "vitest";
import { openRawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, keyOf, type RawWorker, success } from "../harness/raw-worker.js";

const house = useHub({ sessionTtlMs: 20_000 });
const { set, get } = LimitService.method;
const budgets = BudgetService.method;

function productOf(name: string) {
  return { target: { case: "product", value: name } } as const;
}

/** Takes leases as they come, and reports each a little later. */
function workOff(worker: RawWorker): void {
  worker.stream.onMessage((message) => {
    if (message.case !== "leases") return;
    for (const lease of message.value.leases) setTimeout(() => void worker.succeed(lease), 5);
  });
}

async function inState(jobId: string, state: JobState): Promise<void> {
  await until(
    async () => (await getJob(house.client(), jobId)).state === state,
    `${jobId} in state ${state}`,
  );
}

describe("a cap", () => {
  it("is kept to by all hubs together, and the work goes on as leases end", async () => {
    const client = house.client();
    const target = { target: { case: "queue", value: { product: "default", queue: "narrow" } } } as const;
    await client.call(set, { target, settings: { settings: { case: "cap", value: { jobsMax: 3 } } } });
    const peer = await house.startPeer();
    const there = openRawClient(peer.grpcAddress);
    try {
      const worker = await attachWorker(client, { kinds: ["narrow"] });
      const other = await attachWorker(there, { kinds: ["narrow"] });
      const ids = await submitMany(
        client,
        Array.from({ length: 30 }, () => ({ kind: "narrow", queue: "narrow" })),
      );
      let most = 0;
      const looking = setInterval(async () => {
        const [row] = await house.query<{ n: number }>("select count(*)::integer as n from hold");
        most = Math.max(most, row?.n ?? 0);
      }, 3);
      workOff(worker);
      workOff(other);
      worker.credit(30);
      other.credit(30);
      for (const jobId of ids) await inState(jobId, JobState.SUCCEEDED);
      clearInterval(looking);
      expect(most).toBeLessThanOrEqual(3);
      expect(most).toBeGreaterThan(0);
      const { limit } = await client.call(get, { target, type: LimitType.CAP });
      expect(limit?.use?.jobs).toBe(0);
    } finally {
      there.close();
    }
  });
});

describe("a key that jobs declare", () => {
  const inFlight = (key: string, policy = InFlightPolicy.WAIT) => ({ inFlight: { key, max: 1, policy } });

  it("lets one after the other start, and Explain says why the second waits", async () => {
    const client = house.client();
    const worker = await attachWorker(client, { kinds: ["keyed"] });
    worker.credit(10);
    const [first = "", second = ""] = await submitMany(client, [
      { kind: "keyed", ...inFlight("ada") },
      { kind: "keyed", ...inFlight("ada") },
    ]);
    const lease = await worker.lease();
    expect(lease.jobId).toBe(first);
    await inState(second, JobState.PARKED);
    const told = await client.call(JobService.method.explain, { jobId: second });
    expect(told.reasons[0]).toMatchObject({
      cause: WaitCause.GATE,
      message: "key:ada is at its limit of 1 jobs in flight",
    });
    expect((await getJob(client, second)).inFlight).toMatchObject({ key: "ada", max: 1 });

    await worker.succeed(lease);

    expect((await worker.lease()).jobId).toBe(second);
  });

  it("refuses a submit that will not wait while its places are taken, but not one that was accepted before", async () => {
    const client = house.client();
    const worker = await attachWorker(client, { kinds: ["refusing"] });
    worker.credit(10);
    const job = {
      ...{ kind: "refusing", idempotencyKey: "first" },
      ...inFlight("bob", InFlightPolicy.REFUSE),
    };
    const jobId = await submitOne(client, job);
    const lease = await worker.lease();

    const refused = await client.refused(JobService.method.submit, { job: { ...job, idempotencyKey: "" } });

    expect(refused).toMatchObject({
      code: 8,
      reason: "IN_FLIGHT_FULL",
      metadata: { key: "bob", value: "1" },
    });
    expect(await submitOne(client, job)).toBe(jobId);
    await worker.succeed(lease);
    expect(await submitOne(client, { ...job, idempotencyKey: "" })).not.toBe(jobId);
  });

  it.each([
    ["a pause", { type: "pause", value: {} }],
    ["a cap of tokens", { type: "cap", value: { jobsMax: 1, tokensMax: 5n } }],
  ] as const)("is no target of %s", async (_, { type, value }) => {
    const request = {
      target: { target: { case: "key", value: "ada" } },
      settings: { settings: { case: type, value } },
    } as const;
    expect(await house.client().refused(set, request as never)).toMatchObject({ reason: "INVALID_FIELD" });
  });
});

describe("a budget", () => {
  const cost = (dollars: number) => ({ costMicroUsd: BigInt(dollars * 1_000_000), tokens: 0n });
  const budget = (dollars: number) => ({
    costMicroUsdMax: BigInt(dollars * 1_000_000),
    window: BudgetWindow.DAY,
  });

  it("holds at the claim, settles with the result, stops at its ceiling and goes on when that is raised", async () => {
    const client = house.client();
    const product = "metered";
    await client.call(budgets.set, { product, budget: budget(10) });
    const worker = await attachWorker(client, { kinds: ["metered"] });
    worker.credit(10);
    const first = await submitOne(client, { kind: "metered", product, estimate: cost(6) });
    const lease = await worker.lease();
    expect(lease.jobId).toBe(first);
    const held = (await client.call(budgets.get, { product })).limit?.use;
    expect(held).toMatchObject({ jobs: 1, held: cost(6), spent: cost(0) });
    const second = await submitOne(client, { kind: "metered", product, estimate: cost(6) });
    await inState(second, JobState.PARKED);

    const results = [{ ...keyOf(lease), outcome: { outcome: success("done") }, spend: cost(9) }];
    worker.stream.send({ case: "report", value: { results } }, worker.delivered());
    await inState(first, JobState.SUCCEEDED);

    const spent = (await client.call(budgets.get, { product })).limit?.use;
    expect(spent).toMatchObject({ jobs: 0, held: cost(0), spent: cost(9) });
    expect(spent?.windowEndsAt).toBeDefined();
    await until(
      async () =>
        (
          await house.query(
            "select from operation where action = 'budget.alert' and target = 'product:metered'",
          )
        ).length === 1,
      "operators to be told",
    );
    await client.call(budgets.set, { product, budget: budget(20) });
    expect((await worker.lease()).jobId).toBe(second);
  });

  it("can be paused and resumed, and counts spend from outside once", async () => {
    const client = house.client();
    const product = "paused";
    await client.call(budgets.set, { product, budget: budget(10) });
    const justification = { reason: "the invoice is being checked", ticket: "" };
    const { limit } = await client.call(budgets.pause, { product, justification });
    expect(limit).toMatchObject({
      shut: true,
      reason: "the budget of product:paused is paused: the invoice is being checked",
    });
    const worker = await attachWorker(client, { kinds: ["paused"] });
    worker.credit(10);
    const jobId = await submitOne(client, { kind: "paused", product });
    await client.call(budgets.set, { product, budget: budget(12) });
    expect((await client.call(budgets.get, { product })).limit?.shut).toBe(true);
    expect((await getJob(client, jobId)).state).toBe(JobState.READY);
    const accrual = { product, requestId: "invoice", spend: cost(12) };
    expect(await client.call(budgets.accrueSpend, accrual)).toMatchObject({ counted: true });
    expect(await client.call(budgets.accrueSpend, accrual)).toMatchObject({ counted: false });

    await client.call(budgets.resume, { product });

    // At its ceiling it stays shut.
    await until(
      async () => (await client.call(budgets.get, { product })).limit?.reason.includes("at its limit"),
      "the budget to be found spent",
    );
    expect((await getJob(client, jobId)).attempt).toBe(0);
    await client.call(budgets.set, { product, budget: budget(13) });
    expect((await worker.lease()).jobId).toBe(jobId);
    const again = { ...accrual, spend: cost(1) };
    expect(await client.refused(budgets.accrueSpend, again)).toMatchObject({
      reason: "IDEMPOTENCY_CONFLICT",
    });
    const absent = { ...accrual, product: "none", requestId: "2" };
    expect(await client.refused(budgets.accrueSpend, absent)).toMatchObject({ reason: "LIMIT_NOT_FOUND" });
  });

  it("keeps a pause and a ceiling that are set at the same moment, on two hubs", async () => {
    const client = house.client();
    const peer = await house.startPeer();
    const there = openRawClient(peer.grpcAddress);
    const product = "both";
    await client.call(budgets.set, { product, budget: budget(1) });
    try {
      for (let dollars = 2; dollars < 12; dollars += 1) {
        const isPause = dollars % 2 === 0;
        await Promise.all([
          client.call(budgets.set, { product, budget: budget(dollars) }),
          isPause ? there.call(budgets.pause, { product }) : there.call(budgets.resume, { product }),
        ]);
        const { limit } = await client.call(budgets.get, { product });
        expect(limit?.settings?.settings).toMatchObject({
          case: "budget",
          value: { paused: isPause, costMicroUsdMax: cost(dollars).costMicroUsd },
        });
      }
    } finally {
      there.close();
    }
  });

  it.each([
    ["without a ceiling", { product: "p", budget: {} }, "budget"],
    ["with a ceiling below nothing", { product: "p", budget: { tokensMax: -1n } }, "budget.tokens_max"],
    [
      "in a zone that does not exist",
      { product: "p", budget: { tokensMax: 1n, timeZone: "Mars" } },
      "budget.time_zone",
    ],
    [
      "with a window that does not exist",
      { product: "p", budget: { tokensMax: 1n, window: 9 } },
      "budget.window",
    ],
    ["for nobody", { product: "", budget: { tokensMax: 1n } }, "product"],
  ] as const)("is refused %s", async (_, request, field) => {
    const refused = await house.client().refused(budgets.set, request as never);
    expect(refused).toMatchObject({ code: 3, reason: "INVALID_FIELD", metadata: { field } });
  });
});

describe("seats", () => {
  it("are given up for a critical job: the worker is told, saves its work, and goes on where it was", async () => {
    const client = house.client();
    const product = "seated";
    const value = { max: 1, preemption: true, grace: duration(20_000) };
    await client.call(set, { target: productOf(product), settings: { settings: { case: "seats", value } } });
    const worker = await attachWorker(client, { kinds: ["seated"] });
    worker.credit(10);
    const normal = await submitOne(client, { kind: "seated", product });
    const lease = await worker.lease();
    expect(lease.jobId).toBe(normal);
    const equal = await submitOne(client, { kind: "seated", product, priority: Priority.HIGH });
    const critical = await submitOne(client, { kind: "seated", product, priority: Priority.CRITICAL });

    const { leases } = await worker.stream.next("revoke");
    expect(leases).toMatchObject([
      { ...keyOf(lease), reason: RevokeReason.PREEMPTED, grace: duration(20_000) },
    ]);
    const checkpoint = { ...keyOf(lease), sequence: 1n, state: new Uint8Array([7]) };
    worker.stream.send({ case: "checkpoint", value: checkpoint }, worker.delivered());
    await worker.stream.next("checkpointSaved");
    worker.stream.send(
      { case: "release", value: { leases: [{ ...keyOf(lease), started: true }] } },
      worker.delivered(),
    );

    const next = await worker.lease();
    expect(next.jobId).toBe(critical);
    const { history } = await client.call(JobService.method.get, { jobId: normal, includeHistory: true });
    expect(history.some(({ type }) => type === JobEventType.PREEMPTED)).toBe(true);
    await worker.succeed(next);
    const rest = [await worker.lease()];
    await worker.succeed(rest[0] as never);
    rest.push(await worker.lease());
    expect(rest.map(({ jobId }) => jobId).sort()).toEqual([normal, equal].sort());
    const again = rest.find(({ jobId }) => jobId === normal);
    expect(again).toMatchObject({ attempt: 1, checkpoint: { sequence: 1n } });
  });

  it("that critical work sits on go to the critical job that waits, whatever scores higher, and nobody is preempted", async () => {
    const client = house.client();
    const product = "first-to-sit";
    const value = { max: 1, preemption: true };
    await client.call(set, { target: productOf(product), settings: { settings: { case: "seats", value } } });
    // The other job is before the critical one wherever no seat is promised.
    const weights = { priority: 0, capabilities: 1_000 };
    await client.call(ProductService.method.setWeights, { name: product, weights });
    const worker = await attachWorker(client, { kinds: [product], capabilities: ["rare"] });
    worker.credit(10);
    const criticalJob = () => submitOne(client, { kind: product, product, priority: Priority.CRITICAL });
    await criticalJob();
    const lease = await worker.lease();
    const critical = await criticalJob();
    await inState(critical, JobState.PARKED);
    // Lanes wait from then on, so the other job is not parked behind the critical one.
    const isFull = async () =>
      (await client.call(get, { target: productOf(product), type: LimitType.SEATS })).limit?.reason.includes(
        "at its limit",
      );
    await until(isFull, "the hub to find the seats full");
    const normal = await submitOne(client, { kind: product, product, capabilities: ["rare"] });
    await worker.succeed(lease);

    const next = await worker.lease();
    expect(next.jobId).toBe(critical);
    expect((await getJob(client, normal)).attempt).toBe(0);
    await worker.succeed(next);
    expect((await worker.lease()).jobId).toBe(normal);
    const events = await house.query("select job_id from event where type = $1 and job_id = any($2)", [
      JobEventType.PREEMPTED,
      [lease.jobId, critical, normal],
    ]);
    expect(events).toEqual([]);
  });

  it("stand before products only", async () => {
    const value = { max: 1 };
    const request = {
      target: { target: { case: "tenant", value: {} } },
      settings: { settings: { case: "seats", value } },
    } as const;
    expect(await house.client().refused(set, request)).toMatchObject({
      reason: "INVALID_FIELD",
      metadata: { field: "target" },
    });
  });
});
