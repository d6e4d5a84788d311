import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  DependencyKind,
  FailurePolicy,
  type JobSpecSchema,
  JobState,
} from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { describe, expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

const house = useHub();
const { submit, submitBatch, submitRun, addChildren, getDag, listChildren, cancel } = JobService.method;
const absent = "01980000-0000-7000-8000-000000000000";

const work = (more: MessageInitShape<typeof JobSpecSchema> = {}) => ({ kind: "work", ...more });
const after = (jobId: string, kind = DependencyKind.UNSPECIFIED) => ({
  on: { case: "jobId" as const, value: jobId },
  kind,
});
const afterKey = (value: string) => ({ on: { case: "idempotencyKey" as const, value } });
const refused = (reason: string, metadata: object = {}) => ({
  reason,
  metadata: expect.objectContaining(metadata),
});

describe("a run", () => {
  test("goes from its children to its parent, which gets what became of them", async () => {
    const client = house.client();
    const { runId, childIds } = await client.call(submitRun, {
      parent: work({ idempotencyKey: "sum" }),
      children: [work({ idempotencyKey: "a" }), work({ dependsOn: [afterKey("a")] })],
      failurePolicy: FailurePolicy.CONTINUE,
    });
    const worker = await attachWorker(client);
    worker.credit(3);

    const first = await worker.lease();
    await worker.succeed(first, "one");
    const second = await worker.lease();
    await worker.succeed(second, "two");
    const parent = await worker.lease();
    await worker.succeed(parent, "three");

    expect([first.jobId, second.jobId, parent.jobId]).toEqual([...childIds, runId]);
    expect(first.children).toBeUndefined();
    expect(parent.children).toMatchObject({ total: 2, nextPageToken: "" });
    expect(parent.children?.outcomes).toMatchObject([
      { jobId: childIds[0], idempotencyKey: "a", state: JobState.SUCCEEDED },
      { jobId: childIds[1], state: JobState.SUCCEEDED, outcome: { outcome: { case: "success" } } },
    ]);
    const dag = await client.call(getDag, { jobId: childIds[1] as string });
    expect(dag).toMatchObject({ runId, jobs: 3, childrenFailed: 0, failurePolicy: FailurePolicy.CONTINUE });
    expect(dag.nodes.map(({ jobId }) => jobId)).toEqual([runId, ...childIds]);
    expect(dag.nodes[2]).toMatchObject({
      isChild: true,
      dependsOn: [after(childIds[0] as string, DependencyKind.HARD)],
    });
    expect((await getJob(client, runId)).runId).toBe(runId);
  });

  test("is read in pages, and so are its children", async () => {
    const client = house.client();
    const { runId, childIds } = await client.call(submitRun, {
      parent: work(),
      children: [work(), work(), work()],
    });

    const seen: string[] = [];
    for (let pageToken = "", pages = 0; pages < 3; pages += 1) {
      const page = await client.call(getDag, { jobId: runId, pageSize: 2, pageToken });
      seen.push(...page.nodes.map(({ jobId }) => jobId));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(seen).toEqual([runId, ...childIds]);
    const children = await client.call(listChildren, { jobId: runId, pageSize: 2 });
    const rest = await client.call(listChildren, {
      jobId: runId,
      pageSize: 2,
      pageToken: children.nextPageToken,
    });
    expect([...children.children, ...rest.children].map(({ jobId }) => jobId)).toEqual(childIds);
    expect(rest.nextPageToken).toBe("");
    await client.call(cancel, { jobId: runId });
  });

  test("that is cancelled asks workers of its children to stop", async () => {
    const client = house.client();
    const { runId, childIds } = await client.call(submitRun, {
      parent: { kind: "stop" },
      children: [{ kind: "stop" }, { kind: "stop" }],
    });
    const worker = await attachWorker(client, { kinds: ["stop"] });
    worker.credit(1);
    const lease = await worker.lease();

    await client.call(cancel, { jobId: runId });

    const revoke = await worker.stream.next("revoke");
    expect(revoke.leases).toMatchObject([{ jobId: lease.jobId }]);
    const waiting = childIds.find((jobId) => jobId !== lease.jobId) as string;
    expect((await getJob(client, waiting)).state).toBe(JobState.CANCELLED);
    await worker.succeed(lease, "in time");
  });

  test("goes on when children are added by one of them", async () => {
    const client = house.client();
    const { runId } = await client.call(submitRun, {
      parent: { kind: "grow" },
      children: [{ kind: "grow" }],
    });
    const worker = await attachWorker(client, { kinds: ["grow"] });
    worker.credit(3);
    const planner = await worker.lease();
    const added = await client.call(addChildren, { jobId: runId, children: [{ kind: "grow" }] });
    await worker.succeed(planner, "planned");

    const child = await worker.lease();
    await worker.succeed(child, "done");

    expect(child.jobId).toBe(added.children[0]?.jobId);
    expect((await worker.lease()).jobId).toBe(runId);
  });
});

describe("a job that waits for another", () => {
  test("starts after it, submitted alone or in a batch", async () => {
    const client = house.client();
    const first = await submitOne(client, { kind: "chain" });
    const { jobId: second } = await client.call(submit, {
      job: { kind: "chain", dependsOn: [after(first)] },
    });
    const { results } = await client.call(submitBatch, {
      jobs: [
        { kind: "chain", dependsOn: [after(second, DependencyKind.SOFT)] },
        { kind: "chain", dependsOn: [after(absent)] },
      ],
    });
    const worker = await attachWorker(client, { kinds: ["chain"] });
    worker.credit(3);

    const order: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      const lease = await worker.lease();
      order.push(lease.jobId);
      await worker.succeed(lease, "done");
    }

    const third = results[0]?.result;
    expect(order).toEqual([first, second, third?.case === "accepted" ? third.value.jobId : ""]);
    expect(results[1]?.result).toMatchObject({ case: "refused", value: { reason: "DEPENDENCY_NOT_FOUND" } });
    await until(async () => (await getJob(client, second)).state === JobState.SUCCEEDED, "the second ended");
  });
});

describe("what is refused, with nothing written", () => {
  const calls = [
    {
      title: "children that wait for each other, by name",
      request: {
        parent: work(),
        children: [
          work({ idempotencyKey: "x", dependsOn: [afterKey("y")] }),
          work({ idempotencyKey: "y", dependsOn: [afterKey("x")] }),
        ],
      },
      error: refused("DEPENDENCY_CYCLE", { cycle: "x → y → x" }),
    },
    {
      title: "a child that waits for its parent",
      request: {
        parent: work({ idempotencyKey: "top" }),
        children: [work({ dependsOn: [afterKey("top")] })],
      },
      error: refused("DEPENDENCY_CYCLE", { cycle: "top → job 1 → top" }),
    },
    {
      title: "no parent",
      request: { children: [work()] },
      error: refused("INVALID_FIELD", { field: "parent" }),
    },
    {
      title: "no children",
      request: { parent: work() },
      error: refused("INVALID_FIELD", { field: "children" }),
    },
    {
      title: "too many children",
      request: { parent: work(), children: Array.from({ length: 1_001 }, () => work()) },
      error: refused("INVALID_FIELD", { field: "children" }),
    },
    {
      title: "a key twice",
      request: { parent: work(), children: [work({ idempotencyKey: "k" }), work({ idempotencyKey: "k" })] },
      error: refused("INVALID_FIELD", { field: "children" }),
    },
    {
      title: "a dependency on nothing",
      request: { parent: work(), children: [work({ dependsOn: [{}] })] },
      error: refused("INVALID_FIELD", { field: "children[0].depends_on[0]" }),
    },
    {
      title: "an unknown kind of dependency",
      request: { parent: work(), children: [work({ dependsOn: [after(absent, 9 as DependencyKind)] })] },
      error: refused("INVALID_FIELD", { field: "children[0].depends_on[0].kind" }),
    },
    {
      title: "an unknown policy",
      request: { parent: work(), children: [work()], failurePolicy: 9 as FailurePolicy },
      error: refused("INVALID_FIELD", { field: "failure_policy" }),
    },
    {
      title: "a unique key",
      request: { parent: work(), children: [work({ unique: { key: "k" } })] },
      error: refused("INVALID_FIELD", { field: "children[0].unique" }),
    },
    {
      title: "a time to start by",
      request: { parent: work({ startBy: { seconds: 4_000_000_000n } }), children: [work()] },
      error: refused("INVALID_FIELD", { field: "parent.start_by" }),
    },
    {
      title: "a compensation with a unique key",
      request: {
        parent: work(),
        children: [work({ compensation: { job: work({ unique: { key: "k" } }) } })],
      },
      error: refused("INVALID_FIELD", { field: "children[0].compensation.job.unique" }),
    },
    {
      title: "a key that nobody used",
      request: { parent: work(), children: [work({ dependsOn: [afterKey("nobody")] })] },
      error: refused("DEPENDENCY_NOT_FOUND", { idempotency_key: "nobody" }),
    },
    {
      title: "a compensation of a compensation",
      request: {
        parent: work(),
        children: [work({ compensation: { job: work({ compensation: { job: work() } }) } })],
      },
      error: refused("INVALID_FIELD", { field: "children[0].compensation.job" }),
    },
  ];
  for (const { title, request, error } of calls)
    test(title, async () => {
      const count = () => house.query("select count(*)::integer from job");
      const before = await count();
      await expect(house.client().call(submitRun, request)).rejects.toMatchObject(error);
      expect(await count()).toEqual(before);
    });

  test("a graph of a job that stands alone, or is not there", async () => {
    const client = house.client();
    const jobId = await submitOne(client);
    await expect(client.call(getDag, { jobId })).rejects.toMatchObject(refused("NOT_IN_RUN"));
    await expect(client.call(getDag, { jobId: absent })).rejects.toMatchObject(refused("JOB_NOT_FOUND"));
    await expect(client.call(listChildren, { jobId: absent })).rejects.toMatchObject(
      refused("JOB_NOT_FOUND"),
    );
    await expect(client.call(addChildren, { jobId, children: [work()] })).rejects.toMatchObject(
      refused("PARENT_NOT_WAITING"),
    );
    await expect(client.call(addChildren, { jobId: absent, children: [work()] })).rejects.toMatchObject(
      refused("JOB_NOT_FOUND"),
    );
  });
});
