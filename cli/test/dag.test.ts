import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
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

test("dag --wait shows the run once all its jobs have ended; its exit code is that of the parent", async () => {
  const ended = [JobState.LEASED, JobState.SUCCEEDED];
  let looks = 0;
  const cli = await withHub({
    jobs: {
      getDag: () => {
        looks += 1;
        return {
          runId: first,
          failurePolicy: FailurePolicy.CONTINUE,
          jobs: 2,
          nodes: [
            { jobId: first, kind: "sum", state: ended[looks - 1] ?? JobState.SUCCEEDED },
            { jobId: second, kind: "part", state: JobState.DEAD, isChild: true },
          ],
        };
      },
      async *watch({ targets }) {
        expect(targets.map(({ jobId }) => jobId)).toEqual([first]);
        yield {
          update: { case: "event" as const, value: { jobId: first, state: JobState.SUCCEEDED, revision: 3 } },
        };
      },
    },
  });

  const answer = await cli("dag", second, "--wait");
  const wrong = await cli("dag", second, "--timeout", "1s");

  expect(answer).toMatchObject({ exitCode: EXIT.ok });
  expect(answer.stdout).toContain("1 succeeded, 1 dead");
  expect(wrong.exitCode).toBe(EXIT.usage);
});

test("run submit sends the run of a file, options before the file's own, and prints the ids by key", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    jobs: {
      submitRun: (request) => {
        requests.push(request);
        return { runId: first, childIds: [second] };
      },
    },
  });
  const file = join(await mkdtemp(join(tmpdir(), "holdfast-run-")), "run.json");
  const content = {
    parent: { kind: "sum" },
    children: [{ kind: "part", key: "a" }],
    failurePolicy: "continue",
  };
  await writeFile(file, JSON.stringify(content));

  const text = await cli("run", "submit", file, "--failure-policy", "wait-for-all", "--stop-grace", "5s");
  const json = await cli("run", "submit", file, "--json");
  const absent = await cli("run", "submit", `${file}.absent`);
  await rm(dirname(file), { recursive: true });

  expect(text).toMatchObject({ exitCode: EXIT.ok, stdout: `${first}\n└ ${second}  a\n` });
  expect(requests).toMatchObject([
    { failurePolicy: FailurePolicy.WAIT_FOR_ALL, stopGrace: { seconds: 5n }, children: [{ kind: "part" }] },
    { failurePolicy: FailurePolicy.CONTINUE },
  ]);
  expect(JSON.parse(json.stdout)).toEqual({
    runId: first,
    existing: false,
    children: [{ jobId: second, key: "a" }],
  });
  expect(absent.exitCode).toBe(EXIT.usage);
});
