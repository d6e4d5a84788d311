import { JobEventType } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import type { RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { submitMany, submitOne } from "../harness/raw-jobs.js";
import { attachWorker } from "../harness/raw-worker.js";

const house = useHub();

test("a job is leased in the commit that submits it when a worker waits and its lane is empty (D20, D21)", async () => {
  const client = house.client();
  const worker = await attachWorker(client);
  worker.credit(2);
  // The first job makes the lane known.
  await submitOne(client);
  await worker.succeed(await worker.lease(), "out");

  const jobId = await submitOne(client, { payload: Buffer.from("now") });

  const lease = await worker.lease();
  expect(lease).toMatchObject({ jobId, attempt: 1, fencingToken: 1n });
  expect(Buffer.from(lease.payload).toString()).toBe("now");
  expect((await worker.succeed(lease, "out")).verdict).toBe(Verdict.COMMITTED);
  const history = await historyOf(client, jobId);
  expect(history.map(({ type }) => type)).toEqual([
    JobEventType.SUBMITTED,
    JobEventType.LEASED,
    JobEventType.SUCCEEDED,
  ]);
  const [submitted, leased, succeeded] = history.map(({ id }) => id.split("-").slice(0, 2).join("-"));
  expect(leased).toBe(submitted);
  expect(succeeded).not.toBe(submitted);
});

test("new work does not overtake work of its lane that waits", async () => {
  const client = house.client();
  const [first, second] = await submitMany(client, [{ kind: "wait" }, { kind: "wait" }]);
  const worker = await attachWorker(client, { kinds: ["wait"] });

  worker.credit(3);
  const third = await submitOne(client, { kind: "wait" });

  const started = [await worker.lease(), await worker.lease(), await worker.lease()];
  expect(started.map(({ jobId }) => jobId)).toEqual([first, second, third]);
});

async function historyOf(client: RawClient, jobId: string) {
  return (await client.call(JobService.method.get, { jobId, includeHistory: true })).history;
}
