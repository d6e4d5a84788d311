import { JobState, UniquePolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const under = useHub();
const { submit, submitBatch, retry } = JobService.method;

const job = (key: string, policy = UniquePolicy.UNSPECIFIED) => ({ kind: "work", unique: { key, policy } });

describe("a job with a unique key", () => {
  it("is answered instead of a second one, or keeps it out, while it is open", async () => {
    const client = under.client();
    const jobId = await submitOne(client, job("a"));

    expect(await client.call(submit, { job: job("a") })).toMatchObject({ jobId, existing: true });
    await expect(client.call(submit, { job: job("a", UniquePolicy.REFUSE) })).rejects.toMatchObject({
      reason: "UNIQUE_KEY_HELD",
      metadata: { job_id: jobId },
    });
    expect(await getJob(client, jobId)).toMatchObject({ uniqueKey: "a" });
  });

  it("is replaced if it has not started, and a worker is given the new one only", async () => {
    const client = under.client();
    const first = await submitOne(client, { ...job("b"), kind: "replaced" });

    const answer = await client.call(submit, {
      job: { ...job("b", UniquePolicy.REPLACE), kind: "replaced" },
    });

    expect(answer).toMatchObject({ existing: false, replacedJobId: first });
    expect((await getJob(client, first)).state).toBe(JobState.CANCELLED);
    const worker = await attachWorker(client, { kinds: ["replaced"] });
    worker.credit(2);
    expect((await worker.lease()).jobId).toBe(answer.jobId);
  });

  it("is leased as it is submitted like any other, and frees its key when it has ended", async () => {
    const client = under.client();
    const worker = await attachWorker(client, { kinds: ["direct"] });
    worker.credit(10);
    const first = await submitOne(client, { ...job("c"), kind: "direct" });
    const lease = await worker.lease();
    expect(lease.jobId).toBe(first);
    expect(
      await client.call(submit, { job: { ...job("c", UniquePolicy.REPLACE), kind: "direct" } }),
    ).toMatchObject({
      jobId: first,
      existing: true,
      replacedJobId: "",
    });
    await worker.report(lease, failure("BOOM", { permanent: true }));

    const second = await submitOne(client, { ...job("c"), kind: "direct" });

    expect(second).not.toBe(first);
    await expect(client.call(retry, { jobId: first })).rejects.toMatchObject({
      reason: "UNIQUE_KEY_HELD",
      metadata: { job_id: second },
    });
    await worker.succeed(await worker.lease());
    await until(async () => (await getJob(client, second)).state === JobState.SUCCEEDED, "the second to end");
    // The worker has credit left and may have it already.
    const revived = await client.call(retry, { jobId: first });
    expect([JobState.READY, JobState.LEASED]).toContain(revived.job?.state);
  });

  it("stands in a batch beside jobs without one, each answered in its place", async () => {
    const client = under.client();
    const jobs = [job("d"), { kind: "work" }, job("d", UniquePolicy.REFUSE), job("d"), { kind: "No" }];

    const { results } = await client.call(submitBatch, { jobs });

    expect(results.map(({ result }) => result.case)).toEqual([
      "accepted",
      "accepted",
      "refused",
      "accepted",
      "refused",
    ]);
    expect(results[3]?.result.value).toMatchObject({ existing: true });
    expect(results[2]?.result.value).toMatchObject({ reason: "UNIQUE_KEY_HELD" });
  });

  it.each([
    [{ key: "" }, "job.unique.key"],
    [{ key: "x".repeat(257) }, "job.unique.key"],
    [{ key: "x", policy: 99 }, "job.unique.policy"],
  ])("%j is refused, naming the field", async (unique, field) => {
    await expect(
      under.client().call(submit, { job: { kind: "work", unique } as never }),
    ).rejects.toMatchObject({ reason: "INVALID_FIELD", metadata: { field } });
  });
});
