import { Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { ProductService, ScoreWeight } from "@holdfast/gen/holdfast/v1/product_service_pb";
import { WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, type HelloInit } from "../harness/raw-worker.js";

const { get, list, setWeights } = ProductService.method;
const under = useHub();
const refusal = (field: string) => ({ reason: "INVALID_FIELD", metadata: { field } });

/** In which order a worker that attaches now is granted a low and a critical job of a product. */
async function orderOf(product: string, hello: HelloInit = {}): Promise<string[]> {
  const client = under.client();
  const low = await submitOne(client, { kind: "ordered", product, priority: Priority.LOW });
  const critical = await submitOne(client, { kind: "ordered", product, priority: Priority.CRITICAL });
  const worker = await attachWorker(client, { kinds: ["ordered"], products: [product], ...hello });
  worker.credit(2);
  const leases = [await worker.lease(), await worker.lease()];
  for (const lease of leases) await worker.succeed(lease);
  worker.vanish();
  const names = new Map([
    [low, "low"],
    [critical, "critical"],
  ]);
  return leases.map(({ jobId }) => names.get(jobId) ?? "?");
}

describe("weights of a product", () => {
  it("are merged field by field, cleared again, and kept as operations with what stood there before", async () => {
    const client = under.client();
    expect((await client.call(get, { name: "press" })).product).toMatchObject({
      weights: {},
      effectiveWeights: { age: 1, priority: 10, retries: -2, capabilities: 5 },
    });

    await client.call(setWeights, { name: "press", weights: { age: 0, priority: 20 } });
    const justification = { reason: "too old", ticket: "T-1" };
    const { product } = await client.call(setWeights, {
      name: "press",
      weights: { retries: -3.5 },
      clear: [ScoreWeight.AGE],
      justification,
    });

    expect(product).toMatchObject({
      weights: { priority: 20, retries: -3.5 },
      effectiveWeights: { age: 1, priority: 20, retries: -3.5, capabilities: 5 },
      changedAt: expect.anything(),
    });
    expect(product?.weights?.age).toBeUndefined();
    expect((await client.call(list, {})).products).toEqual([product]);
    const { operations } = await client.call(OperationService.method.list, { target: "product:press" });
    expect(operations).toMatchObject([
      {
        action: "product.weights",
        justification,
        before: { age: 0, priority: 20 },
        after: { priority: 20, retries: -3.5 },
      },
      { after: { age: 0, priority: 20 } },
    ]);
    expect(operations[1]?.before).toBeUndefined();
  });

  it("decide which lane is served first, and a worker's own weights stand above them", async () => {
    const product = "upside-down";
    expect(await orderOf(product)).toEqual(["critical", "low"]);
    await under.client().call(setWeights, { name: product, weights: { priority: -50 } });
    await until(async () => (await orderOf(product))[0] === "low", "the hub to know the weights");

    expect(await orderOf(product, { weights: { priority: 7 } })).toEqual(["critical", "low"]);
    expect(await orderOf(product, { weights: { age: 2 } })).toEqual(["low", "critical"]);
  });

  it("are heeded for a unary Claim that brings its own, too", async () => {
    const client = under.client();
    const [low, critical] = [
      await submitOne(client, { kind: "called", priority: Priority.LOW }),
      await submitOne(client, { kind: "called", priority: Priority.CRITICAL }),
    ];
    const { leases } = await client.call(WorkerService.method.claim, {
      requestId: uuidv7(),
      worker: { protocolVersion: 1, workerName: "caller", kinds: ["called"], weights: { priority: -10 } },
      maxJobs: 2,
      wait: { seconds: 20n },
    });

    expect(leases?.leases.map(({ jobId }) => jobId)).toEqual([low, critical]);
  });

  it.each([
    ["that is no number", { name: "press", weights: { age: Number.NaN } }, "weights.age"],
    [
      "without a bound",
      { name: "press", weights: { priority: Number.POSITIVE_INFINITY } },
      "weights.priority",
    ],
    ["that is too large", { name: "press", weights: { retries: 1_000.5 } }, "weights.retries"],
    ["that is too small", { name: "press", weights: { capabilities: -1_001 } }, "weights.capabilities"],
    ["of no product", { name: "", weights: { age: 1 } }, "name"],
    ["of a product with a bad name", { name: "Press", weights: { age: 1 } }, "name"],
    ["that is set and cleared", { name: "p", weights: { age: 1 }, clear: [ScoreWeight.AGE] }, "clear"],
    ["that nobody knows", { name: "p", clear: [9 as ScoreWeight] }, "clear[0]"],
    ["not at all", { name: "p" }, "weights"],
  ])("a weight %s is refused", async (_, request, field) => {
    await expect(under.client().call(setWeights, request)).rejects.toMatchObject(refusal(field));
  });
});
