import { Code } from "@connectrpc/connect";
import { DependencyKind, FailurePolicy, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { refusal } from "./fake-hub.js";
import { jsonError } from "./run-cli.js";
import { withHub } from "./with-hub.js";

const first = "0198c7f0-0000-7000-8000-000000000001";
const second = "0198c7f0-0000-7000-8000-000000000002";

test("dag reads every page and draws the run, or writes it as one document", async () => {
  const nodes = [
    { jobId: first, kind: "sum", state: JobState.BLOCKED, waitsFor: 1 },
    { jobId: second, kind: "part", state: JobState.LEASED, isChild: true },
  ];
  const cli = await withHub({
    jobs: {
      getDag: ({ pageToken }) => ({
        runId: first,
        failurePolicy: FailurePolicy.CONTINUE,
        jobs: 2,
        nodes: pageToken === "" ? nodes.slice(0, 1) : nodes.slice(1),
        nextPageToken: pageToken === "" ? "more" : "",
      }),
    },
  });

  const text = await cli("dag", second);
  const json = await cli("dag", second, "--json");

  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout).toContain(`run ${first}  continue  2 jobs: 1 blocked, 1 leased`);
  expect(text.stdout).toContain(`└ leased  part  ${second}`);
  expect(JSON.parse(json.stdout)).toMatchObject({
    runId: first,
    failurePolicy: "continue",
    nodes: [{ jobId: first }, { jobId: second, isChild: true }],
  });
});

test("dag of a job that stands alone is refused, and says what shows it", async () => {
  const cli = await withHub({
    jobs: {
      getDag: () => {
        throw refusal(Code.FailedPrecondition, "NOT_IN_RUN", "The job belongs to no run.");
      },
    },
  });

  const answer = await cli("dag", first, "--json");

  expect(answer.exitCode).toBe(EXIT.refused);
  expect(jsonError(answer).reason).toBe("NOT_IN_RUN");
});

test("submit --after takes ids and idempotency keys, for success or for any end", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    jobs: {
      submit: (request) => {
        requests.push(request.job?.dependsOn);
        return { jobId: second };
      },
    },
  });

  const answer = await cli("submit", "greet", "--after", `${first},order-17`, "--after-ended", "cleanup");

  expect(answer.exitCode).toBe(EXIT.ok);
  expect(requests).toMatchObject([
    [
      { on: { case: "jobId", value: first }, kind: DependencyKind.HARD },
      { on: { case: "idempotencyKey", value: "order-17" }, kind: DependencyKind.HARD },
      { on: { case: "idempotencyKey", value: "cleanup" }, kind: DependencyKind.SOFT },
    ],
  ]);
});
