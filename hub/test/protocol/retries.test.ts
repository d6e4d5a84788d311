import { FailureClass, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { duration, getJob, inMs, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const under = useHub();
const backoff = { initialBackoff: duration(1), maxBackoff: duration(1) };

describe("a failure", () => {
  it("whose code or class the job's policy calls permanent is not retried; others are (D8)", async () => {
    const client = under.client();
    const retry = { ...backoff, permanentCodes: ["GONE"], permanentClasses: [FailureClass.PARSE_ERROR] };
    const worker = await attachWorker(client, { kinds: ["policy"] });
    worker.credit(10);
    const fail = async (code: string) => {
      const jobId = await submitOne(client, { kind: "policy", retry });
      const { state } = await worker.report(await worker.lease(), failure(code));
      return { jobId, state };
    };

    expect((await fail("GONE")).state).toBe(JobState.DEAD);
    expect((await fail("PARSE_ERROR")).state).toBe(JobState.DEAD);
    const retried = await fail("HTTP_503");

    expect(retried.state).toBe(JobState.SCHEDULED);
    const lease = await worker.lease();
    expect(lease).toMatchObject({ jobId: retried.jobId, attempt: 2 });
    await worker.succeed(lease);
  });

  it("that asks for more time than the backoff is retried no earlier (D8)", async () => {
    const client = under.client();
    const worker = await attachWorker(client, { kinds: ["later"] });
    worker.credit(1);
    const jobId = await submitOne(client, { kind: "later", retry: backoff });
    const before = Date.now();

    await worker.report(await worker.lease(), failure("HTTP_429", { retryAfterMs: 3_600_000 }));

    const { runAt } = await getJob(client, jobId);
    expect(Number(runAt?.seconds) * 1_000).toBeGreaterThan(before + 3_590_000);
  });
});

describe("the time to start", () => {
  it("ends a job that nobody was given by then, in the dead letters (D8)", async () => {
    const client = under.client();
    const jobId = await submitOne(client, { kind: "nobody", startBy: inMs(50) });

    await until(async () => (await getJob(client, jobId)).state === JobState.DEAD, "the time to start");

    expect(await getJob(client, jobId)).toMatchObject({
      startBy: expect.anything(),
      outcome: {
        outcome: { value: { code: "DEADLINE_EXCEEDED", message: expect.stringContaining("start") } },
      },
    });
  });

  it("leaves a job alone that has started, also while it waits for its next attempt (D8)", async () => {
    const client = under.client();
    const worker = await attachWorker(client, { kinds: ["started"] });
    worker.credit(2);
    const [startBy, retry] = [
      inMs(1_500),
      { initialBackoff: duration(3_600_000), maxBackoff: duration(3_600_000) },
    ];
    const waiting = await submitOne(client, { kind: "started", startBy, retry });
    await worker.report(await worker.lease(), failure("HTTP_503"));
    const running = await submitOne(client, { kind: "started", startBy, retry });
    const lease = await worker.lease();
    const last = await submitOne(client, { kind: "nobody", startBy });

    await until(
      async () => (await getJob(client, last)).state === JobState.DEAD,
      "the time to start",
      20_000,
    );

    expect((await getJob(client, waiting)).state).toBe(JobState.SCHEDULED);
    expect((await getJob(client, running)).state).toBe(JobState.LEASED);
    await worker.succeed(lease);
  });

  it.each([
    [{ startBy: { seconds: 1n } }, "job.start_by"],
    [{ retry: { permanentCodes: ["no"] } }, "job.retry.permanent_codes[0]"],
    [{ retry: { permanentClasses: [99] } }, "job.retry.permanent_classes[0]"],
  ])("or a policy that cannot be is refused, naming the field: %#", async (job, field) => {
    const call = under.client().call(JobService.method.submit, { job: { kind: "work", ...job } as never });
    await expect(call).rejects.toMatchObject({ reason: "INVALID_FIELD", metadata: { field } });
  });
});
