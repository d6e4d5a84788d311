import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { duration, inMs, submitMany, submitOne } from "../harness/raw-jobs.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const under = useHub();

async function explain(jobId: string) {
  const answer = await under.client().call(JobService.method.explain, { jobId });
  return { ...answer, causes: answer.reasons.map(({ cause }) => cause) };
}

describe("explaining a job", () => {
  it("that nobody offers says what each session lacks, and how many jobs come first", async () => {
    const client = under.client();
    const ids = await submitMany(
      client,
      Array.from({ length: 4 }, () => ({ kind: "gpu", capabilities: ["gpu"] })),
    );
    const worker = await attachWorker(client, { workerName: "no-gpu", kinds: ["gpu"] });
    worker.credit(10);

    const answer = await explain(ids[3] as string);

    expect(answer.causes).toEqual([WaitCause.NO_SESSION, WaitCause.LANE]);
    expect(answer.position).toMatchObject({ jobsAhead: 3, atLeast: false });
    expect(answer.candidates).toMatchObject([
      { workerName: "no-gpu", mismatches: ["does not offer capability gpu"] },
    ]);
    expect(answer.grants).toEqual([]);
  });

  it("that waits for others names the first of them, children and dependencies", async () => {
    const client = under.client();
    const { runId, childIds } = await client.call(JobService.method.submitRun, {
      parent: { kind: "waits" },
      children: [
        { kind: "waits", idempotencyKey: "explain-first" },
        {
          kind: "waits",
          dependsOn: [{ on: { case: "idempotencyKey", value: "explain-first" } }],
        },
      ],
    });
    const [first = "", second = ""] = childIds;

    const parent = await explain(runId);
    expect(parent.causes).toEqual([WaitCause.OTHER_JOBS]);
    expect(parent.waitsForTotal).toBe(2);
    expect(parent.waitsFor).toMatchObject([
      { jobId: first, kind: "waits", state: JobState.READY, child: true },
      { jobId: second, state: JobState.BLOCKED, child: true },
    ]);
    const child = await explain(second);
    expect(child.reasons[0]?.message).toContain(first);
    expect(child.waitsFor).toMatchObject([{ jobId: first, child: false }]);
  });

  it("whose workers are full says so", async () => {
    const client = under.client();
    const jobId = await submitOne(client, { kind: "full" });
    await attachWorker(client, { workerName: "full", kinds: ["full"] });

    const answer = await explain(jobId);

    expect(answer.causes).toEqual([WaitCause.NO_CREDIT]);
    expect(answer.candidates[0]).toMatchObject({
      workerName: "full",
      mismatches: [expect.stringContaining("no credit")],
    });
  });

  it("that runs, waits for its retry, and has ended, tells each, with where it ran", async () => {
    const client = under.client();
    const deadline = inMs(3_600_000);
    const retry = { initialBackoff: duration(3_600_000), maxBackoff: duration(3_600_000) };
    const jobId = await submitOne(client, { kind: "told", deadline, retry });
    const worker = await attachWorker(client, { workerName: "teller", kinds: ["told"] });
    worker.credit(1);
    const lease = await worker.lease();
    expect((await explain(jobId)).causes).toEqual([WaitCause.LEASED, WaitCause.DEADLINE]);

    await worker.report(lease, failure("HTTP_503"));
    const waiting = await explain(jobId);
    expect(waiting.causes).toEqual([WaitCause.BACKOFF, WaitCause.DEADLINE]);
    expect(waiting.reasons[0]?.until).toEqual(waiting.job?.runAt);
    expect(waiting.grants).toMatchObject([
      {
        sessionId: worker.welcome.sessionId,
        workerName: "teller",
        attempt: 1,
        end: JobEventType.RETRY_SCHEDULED,
        reason: expect.stringContaining("HTTP_503"),
      },
    ]);
    await client.call(JobService.method.cancel, { jobId });

    const ended = await explain(jobId);
    expect(ended).toMatchObject({
      causes: [WaitCause.ENDED],
      job: { state: JobState.CANCELLED },
      candidates: [],
    });
  });

  it("that is to run later says when", async () => {
    const runAt = inMs(3_600_000);
    const answer = await explain(await submitOne(under.client(), { runAt }));

    expect(answer.causes).toEqual([WaitCause.RUN_AT]);
    expect(answer.reasons[0]?.until?.seconds).toBe(runAt.seconds);
  });

  it("that is not there, or has no id, is refused", async () => {
    await expect(explain(uuidv7())).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    await expect(explain("x")).rejects.toMatchObject({
      reason: "INVALID_FIELD",
      metadata: { field: "job_id" },
    });
  });
});
