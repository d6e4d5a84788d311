import type { MessageInitShape } from "@bufbuild/protobuf";
import { type JobSpecSchema, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { ReplayVerdict } from "@holdfast/gen/holdfast/v1/replay_pb";
import { describe, expect, test } from "vitest";
import type { RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure, type RawWorker } from "../harness/raw-worker.js";

const house = useHub();
const { submitRun, addChildren, getDag, listChildren, explain, get, replay, getReplay, retry, cancel } =
  JobService.method;
const absent = "01980000-0000-7000-8000-000000000000";

type Spec = MessageInitShape<typeof JobSpecSchema>;
const work = (kind: string, more: Spec = {}): Spec => ({ kind, ...more });
const afterKey = (value: string) => ({ on: { case: "idempotencyKey" as const, value } });
const bytes = (text: string) => new TextEncoder().encode(text);
const ask = (jobId: string, more: object = {}) => ({ requestId: `r-${jobId}`, jobId, ...more });

let kinds = 0;
/** A kind of the test's own, with a worker that has it. */
async function desk(client: RawClient): Promise<{ kind: string; worker: RawWorker }> {
  kinds += 1;
  const kind = `replayed-${kinds}`;
  const worker = await attachWorker(client, { kinds: [kind] });
  worker.credit(100);
  return { kind, worker };
}

async function jobsOf(client: RawClient, replayId: string) {
  return (await client.call(getReplay, { replayId, pageSize: 500 })).jobs;
}

describe("a replayed job", () => {
  test("has the inputs and the seed of its original, takes no key of it, and says whose replay it is", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const spec = {
      payload: bytes("in"),
      contentType: "text/plain",
      idempotencyKey: `${kind}-key`,
      labels: { a: "b" },
      retry: { maxAttempts: 3 },
      unique: { key: `${kind}-unique` },
    };
    const original = await submitOne(client, work(kind, spec));
    await worker.succeed(await worker.lease(), "out");

    const { replayId, jobs } = await client.call(replay, ask(original, { reason: "a new version" }));
    const again = await worker.lease();
    const twin = await submitOne(client, work(kind, { unique: { key: `${kind}-unique` } }));
    await worker.succeed(again, "out");
    const second = await client.call(replay, ask(replayId));

    expect(jobs).toBe(1);
    expect(again).toMatchObject({ jobId: replayId, originJobId: original, attempt: 1, maxAttempts: 3 });
    expect(Buffer.from(again.payload).toString()).toBe("in");
    expect(again).toMatchObject({ contentType: "text/plain", labels: { a: "b" } });
    expect(again.idempotencyKey).toBe(`${kind}-key`);
    expect(twin).not.toBe(replayId);
    expect((await getJob(client, replayId)).causes).toMatchObject([
      { cause: { case: "replay", value: { replayId, jobId: original } } },
    ]);
    const { history } = await client.call(get, { jobId: replayId, includeHistory: true });
    expect(history[0]?.reason).toBe(`Replay of ${original}: a new version`);
    const why = await client.call(explain, { jobId: replayId });
    expect(why.job?.causes).toHaveLength(1);
    const third = await client.call(getReplay, { replayId: second.replayId });
    expect(third.jobs[0]).toMatchObject({ originalJobId: replayId });
    await until(async () => {
      const leased = worker.leases.find(({ jobId }) => jobId === second.replayId);
      return leased?.originJobId === original;
    }, "the replay of a replay has the first one's seed");
  });

  test("is PENDING while it is open, SAME when its outcome is, and DRIFTED when that differs", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const original = await submitOne(client, work(kind));
    await worker.succeed(await worker.lease(), "out");

    const same = await client.call(replay, { requestId: `${kind}-1`, jobId: original });
    expect(await jobsOf(client, same.replayId)).toMatchObject([{ verdict: ReplayVerdict.PENDING }]);
    await worker.succeed(await worker.lease(), "out");
    const drifted = await client.call(replay, { requestId: `${kind}-2`, jobId: original });
    await worker.succeed(await worker.lease(), "something else");

    expect(await jobsOf(client, same.replayId)).toMatchObject([
      { verdict: ReplayVerdict.SAME, originalJobId: original, kind, state: JobState.SUCCEEDED },
    ]);
    const [job] = await jobsOf(client, drifted.replayId);
    expect(job).toMatchObject({ verdict: ReplayVerdict.DRIFTED, originalState: JobState.SUCCEEDED });
    expect(job?.originalDigest).not.toEqual(job?.digest);
    const { createHash } = await import("node:crypto");
    const expected = createHash("sha256").update("success\0text/plain\0out").digest();
    expect(Buffer.from(job?.originalDigest ?? [])).toEqual(expected);
  });

  test("that fails with the same code is the SAME, whatever the message; the original may live on", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const original = await submitOne(client, work(kind));
    await worker.report(await worker.lease(), failure("BOOM", { permanent: true }));
    const { replayId } = await client.call(replay, ask(original));
    await worker.report(await worker.lease(), failure("BOOM", { permanent: true }));

    expect(await jobsOf(client, replayId)).toMatchObject([
      { verdict: ReplayVerdict.SAME, originalState: JobState.DEAD },
    ]);
    await client.call(retry, { jobId: original, reason: "mended" });
    expect((await getJob(client, original)).causes).toMatchObject([
      { cause: { case: "retry", value: { reason: "mended" } } },
    ]);
    await worker.succeed(await worker.lease(), "out");
    expect(await jobsOf(client, replayId)).toMatchObject([{ verdict: ReplayVerdict.SAME }]);
  });

  test("is submitted once for a request, and another request with that id is refused", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const [first, other] = [await submitOne(client, work(kind)), await submitOne(client, work(kind))];
    for (let count = 0; count < 2; count += 1) await worker.succeed(await worker.lease(), "out");

    const answers = await Promise.all(
      Array.from({ length: 8 }, () => client.call(replay, { requestId: kind, jobId: first })),
    );

    expect(new Set(answers.map(({ replayId }) => replayId)).size).toBe(1);
    expect(answers.filter(({ existing }) => !existing)).toHaveLength(1);
    await expect(client.call(replay, { requestId: kind, jobId: other })).rejects.toMatchObject({
      reason: "IDEMPOTENCY_CONFLICT",
    });
  });

  test("is compensated by nothing, and a compensation says what it undoes", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const original = await submitOne(client, work(kind, { compensation: { job: work(kind) } }));
    await worker.report(await worker.lease(), failure("BOOM", { permanent: true }));
    const undo = await worker.lease();
    await worker.succeed(undo, "undone");
    expect((await getJob(client, undo.jobId)).causes).toMatchObject([
      { cause: { case: "compensation", value: { jobId: original } } },
    ]);

    const { replayId } = await client.call(replay, ask(original));
    await worker.report(await worker.lease(), failure("BOOM", { permanent: true }));

    await until(async () => (await getJob(client, replayId)).state === JobState.DEAD, "the replay died");
    expect(await house.query("select from compensation where job_id = $1", [replayId])).toEqual([]);
  });
});

describe("a replayed run", () => {
  test("has the children, dependencies and policy of its original, those included that were added later", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const { runId, childIds } = await client.call(submitRun, {
      parent: work(kind),
      children: [
        work(kind, { idempotencyKey: `${kind}/a` }),
        work(kind, { dependsOn: [afterKey(`${kind}/a`)] }),
      ],
    });
    const first = await worker.lease();
    const late = work(kind, { idempotencyKey: `${kind}/late` });
    const { children } = await client.call(addChildren, { jobId: runId, children: [late] });
    await worker.succeed(first, "a");
    for (const result of ["late or second", "late or second", "parent"])
      await worker.succeed(await worker.lease(), result);

    const { replayId, jobs } = await client.call(replay, ask(runId));
    const report = await jobsOf(client, replayId);
    const twin = (jobId: string | undefined) =>
      report.find(({ originalJobId }) => originalJobId === jobId)?.jobId;
    const again = await client.call(addChildren, { jobId: replayId, children: [late] });
    const leases = [await worker.lease(), await worker.lease()];
    for (const lease of leases)
      await worker.succeed(lease, lease.jobId === twin(childIds[0]) ? "a" : "late or second");
    await worker.succeed(await worker.lease(), "late or second");
    const parent = await worker.lease();
    await worker.succeed(parent, "another bill");

    expect(jobs).toBe(4);
    expect(report.map(({ originalJobId }) => originalJobId)).toEqual([
      runId,
      ...childIds,
      children[0]?.jobId,
    ]);
    expect(again.children).toMatchObject([{ jobId: twin(children[0]?.jobId), existing: true }]);
    expect(new Set(leases.map(({ jobId }) => jobId))).toEqual(
      new Set([twin(childIds[0]), twin(children[0]?.jobId)]),
    );
    expect(parent.jobId).toBe(replayId);
    expect(parent.children).toMatchObject({ total: 3 });
    expect(parent.children?.outcomes[0]).toMatchObject({
      idempotencyKey: `${kind}/a`,
      state: JobState.SUCCEEDED,
    });
    const dag = await client.call(getDag, { jobId: replayId });
    expect(dag).toMatchObject({ runId: replayId, jobs: 4 });
    expect(dag.nodes.every(({ causes }) => causes[0]?.cause.case === "replay")).toBe(true);
    expect((await jobsOf(client, replayId)).map(({ verdict }) => verdict)).toEqual([
      ReplayVerdict.DRIFTED,
      ReplayVerdict.SAME,
      ReplayVerdict.SAME,
      ReplayVerdict.SAME,
    ]);
    const listed = await client.call(listChildren, { jobId: runId });
    expect(listed.children).toHaveLength(3);
  });

  test("answers children that are added behind siblings by id as existing, also in a replay of a replay", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const late = (jobId: string) =>
      work(kind, {
        idempotencyKey: `${kind}/late`,
        dependsOn: [{ on: { case: "jobId" as const, value: jobId } }],
      });
    /** Lives the run as its handlers do: the first child adds another one, which waits for it. */
    const live = async (runId: string, more: (childId: string) => Spec[]) => {
      const child = await worker.lease();
      const added = await client.call(addChildren, { jobId: runId, children: more(child.jobId) });
      await worker.succeed(child, "out");
      return added.children;
    };
    const finish = async (jobs: number) => {
      for (let left = jobs; left > 0; left -= 1) await worker.succeed(await worker.lease(), "out");
    };
    const { runId } = await client.call(submitRun, { parent: work(kind), children: [work(kind)] });
    await live(runId, (childId) => [late(childId)]);
    await finish(2);

    let originalId = runId;
    for (let round = 0; round < 2; round += 1) {
      const { replayId } = await client.call(replay, ask(originalId));
      const [again] = await live(replayId, (childId) => [late(childId)]);
      await finish(2);

      const report = await jobsOf(client, replayId);
      expect(again).toEqual(expect.objectContaining({ jobId: report[2]?.jobId, existing: true }));
      originalId = replayId;
    }
  });

  test("finds a child again that only its own handler adds, behind a sibling by id", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const { runId } = await client.call(submitRun, { parent: work(kind), children: [work(kind)] });
    for (let left = 2; left > 0; left -= 1) await worker.succeed(await worker.lease(), "out");
    const { replayId } = await client.call(replay, ask(runId));
    const child = await worker.lease();
    const dependsOn = [{ on: { case: "jobId" as const, value: child.jobId } }];
    const children = [work(kind, { idempotencyKey: `${kind}/new`, dependsOn })];

    const first = await client.call(addChildren, { jobId: replayId, children });
    const again = await client.call(addChildren, { jobId: replayId, children });

    expect(first.children).toMatchObject([{ existing: false }]);
    expect(again.children).toMatchObject([{ jobId: first.children[0]?.jobId, existing: true }]);
    await client.call(cancel, { jobId: replayId });
  });

  test("is read in pages, by the id of any of its jobs", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const { runId } = await client.call(submitRun, {
      parent: work(kind),
      children: [work(kind), work(kind), work(kind)],
    });
    for (let count = 0; count < 4; count += 1) await worker.succeed(await worker.lease(), "out");
    const { replayId } = await client.call(replay, ask(runId));

    const all = await jobsOf(client, replayId);
    const ofChild = all[2]?.jobId as string;
    const first = await client.call(getReplay, { replayId: ofChild, pageSize: 3 });
    const rest = await client.call(getReplay, {
      replayId: ofChild,
      pageSize: 3,
      pageToken: first.nextPageToken,
    });

    expect(first.replay).toMatchObject({ id: replayId, originalId: runId, isRun: true, jobs: 4 });
    expect([...first.jobs, ...rest.jobs].map(({ jobId }) => jobId)).toEqual(all.map(({ jobId }) => jobId));
    expect(rest.nextPageToken).toBe("");
    await client.call(cancel, { jobId: replayId });
  });
});

describe("what is refused, with nothing written", () => {
  test("open jobs, open runs, jobs that are not there or dropped, and requests without an id", async () => {
    const client = house.client();
    const { kind, worker } = await desk(client);
    const { runId, childIds } = await client.call(submitRun, {
      parent: work(kind),
      children: [work(kind), work(kind)],
    });
    const count = () => house.query("select count(*)::integer from job");
    const before = await count();
    const refused = (jobId: string, reason: string) =>
      expect(client.call(replay, ask(jobId))).rejects.toMatchObject({ reason });

    await refused(runId, "NOT_TERMINAL");
    await refused(childIds[0] as string, "NOT_TERMINAL");
    await worker.succeed(await worker.lease(), "out");
    await refused(runId, "NOT_TERMINAL");
    for (let left = 0; left < 2; left += 1) await worker.succeed(await worker.lease(), "out");
    await refused(absent, "JOB_NOT_FOUND");
    await expect(client.call(replay, { jobId: runId })).rejects.toMatchObject({ reason: "INVALID_FIELD" });
    await expect(client.call(getReplay, { replayId: runId })).rejects.toMatchObject({
      reason: "REPLAY_NOT_FOUND",
    });
    expect(await count()).toEqual(before);

    await house.query("delete from run_node where job_id = $1", [childIds[0]]);
    await house.query("delete from job where id = $1", [childIds[0]]);
    await expect(client.call(replay, ask(runId))).rejects.toMatchObject({
      reason: "JOB_NOT_FOUND",
      metadata: { jobs_missing: "1" },
    });
  });
});
