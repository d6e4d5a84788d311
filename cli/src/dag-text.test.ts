import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DependencyKind, FailurePolicy, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { type DagNode, DagNodeSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { expect, test } from "vitest";
import { dagText } from "./dag-text.js";
import { plainPaint } from "./paint.js";

const nowMs = 1_800_000_000_000;

function node(
  jobId: string,
  state: JobState,
  after: readonly string[] = [],
  more: MessageInitShape<typeof DagNodeSchema> = {},
): DagNode {
  const dependsOn = after.map((value) => ({
    on: { case: "jobId" as const, value },
    kind: DependencyKind.HARD,
  }));
  return create(DagNodeSchema, { jobId, kind: "work", state, isChild: true, dependsOn, ...more });
}

function textOf(nodes: readonly DagNode[], childrenFailed = 0): string {
  const dag = { runId: "top", failurePolicy: FailurePolicy.FAIL_FAST, jobs: nodes.length, childrenFailed };
  return dagText({ ...dag, nodes: [...nodes] }, nowMs, plainPaint);
}

test("a run is drawn as a tree, each job below the last that it waits for", () => {
  const text = textOf([
    node("top", JobState.BLOCKED, [], { isChild: false, kind: "sum", waitsFor: 2 }),
    node("a", JobState.SUCCEEDED, [], {
      startedAt: timestampFromMs(nowMs - 9_000),
      finishedAt: timestampFromMs(nowMs - 4_000),
      attempt: 2,
    }),
    node("b", JobState.LEASED, [], { startedAt: timestampFromMs(nowMs - 3_000), attempt: 1 }),
    node("c", JobState.BLOCKED, ["a", "b"], { idempotencyKey: "join", waitsFor: 1 }),
  ]);

  expect(text.split("\n")).toEqual([
    "run top  fail-fast  4 jobs: 2 blocked, 1 succeeded, 1 leased",
    "blocked  sum  top  waits for 2",
    "└ succeeded  work  a  in 5 s, attempt 2",
    "└ leased  work  b  for 3 s",
    "  └ blocked  work  c  join  waits for 1  also after …a",
  ]);
});

test("failures and what undoes them are said where they happened", () => {
  const text = textOf(
    [
      node("top", JobState.DEAD, [], { isChild: false, failureCode: "CHILD_FAILED" }),
      node("a", JobState.DEAD, [], { failureCode: "HTTP_503", compensationJobId: "undo" }),
    ],
    1,
  );

  expect(text).toContain("1 child failed");
  expect(text).toContain("dead  work  a  HTTP_503  compensated by undo");
});

test("a chain 1,000 deep is drawn without an endless indent", () => {
  const chain = Array.from({ length: 1_000 }, (_, at) =>
    node(`job-${at}`, JobState.READY, at === 0 ? [] : [`job-${at - 1}`], { isChild: false }),
  );

  const lines = textOf(chain).split("\n");

  expect(lines).toHaveLength(1_001);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(80);
  expect(lines.at(-1)).toContain("(999)");
});
