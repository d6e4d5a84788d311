import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, type HandlerContext } from "@connectrpc/connect";
import {
  DisconnectPolicy,
  FailureClass,
  JobSchema,
  type JobSpec,
  JobState,
  Priority,
  UniquePolicy,
} from "@holdfast/gen/holdfast/v1/job_pb";
import type { ListRequest } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { afterEach, describe, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeHub, type FakeServices, refusal, startFakeHub } from "./fake-hub.js";
import { run } from "./run-cli.js";

let hub: FakeHub | undefined;
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
});

async function withHub(
  services: FakeServices,
): Promise<(args: readonly string[], stdin?: string) => ReturnType<typeof run>> {
  const started = await startFakeHub(services);
  hub = started;
  return (args, stdin) => run([...args, "--hub", started.url], stdin === undefined ? {} : { stdin });
}

function job(init: Pick<MessageInitShape<typeof JobSchema>, "id" | "state"> = {}) {
  return create(JobSchema, {
    id: "job-1",
    kind: "greet",
    product: "default",
    queue: "default",
    priority: Priority.NORMAL,
    state: JobState.SUCCEEDED,
    attempt: 1,
    maxAttempts: 5,
    fencingToken: 1n,
    revision: 3,
    submittedAt: timestampFromMs(Date.now() - 5_000),
    payload: Buffer.from('{"name":"Ada"}'),
    contentType: "application/json",
    outcome: {
      outcome: {
        case: "success",
        value: { result: Buffer.from("Hello, Ada"), contentType: "text/plain; charset=utf-8" },
      },
    },
    ...init,
  });
}

describe("submit", () => {
  test("sends every option as the protocol names it", async () => {
    let sent: JobSpec | undefined;
    const cli = await withHub({
      jobs: {
        submit: ({ job: spec }) => {
          sent = spec;
          return { jobId: "job-1", existing: false };
        },
      },
    });
    const args =
      "submit greet --payload {} --queue q --product p --priority critical --capability gpu,tpu --capability fpga " +
      "--label a=1 --label b=x=y --idempotency-key k --unique-key u --unique-policy replace --run-at 2027-01-31T14:00:00+02:00 --deadline 2027-02-01T00:00Z " +
      "--max-attempts 3 --initial-backoff 250ms --backoff-factor 1.5 --max-backoff 10m --permanent-code HTTP_404,GONE --permanent-class parse-error " +
      "--start-by 2027-01-31T13:00:00Z --source api.example/v2 --fairness-key Customer:42 --fairness-weight 3 " +
      "--disconnect-policy finish-and-report --disconnect-limit 24h";
    const result = await cli(args.split(" "));
    expect(result).toEqual({ exitCode: EXIT.ok, stdout: "job-1\n", stderr: "" });
    expect(sent).toMatchObject({
      kind: "greet",
      queue: "q",
      product: "p",
      priority: Priority.CRITICAL,
      capabilities: ["gpu", "tpu", "fpga"],
      labels: { a: "1", b: "x=y" },
      source: "api.example/v2",
      fairness: { key: "Customer:42", weight: 3 },
      idempotencyKey: "k",
      unique: { key: "u", policy: UniquePolicy.REPLACE },
      contentType: "application/json",
      retry: {
        maxAttempts: 3,
        factor: 1.5,
        permanentCodes: ["HTTP_404", "GONE"],
        permanentClasses: [FailureClass.PARSE_ERROR],
      },
      disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT,
    });
    expect(Buffer.from(sent?.payload ?? []).toString()).toBe("{}");
    expect(sent?.runAt && timestampDate(sent.runAt).toISOString()).toBe("2027-01-31T12:00:00.000Z");
    expect(sent?.startBy && timestampDate(sent.startBy).toISOString()).toBe("2027-01-31T13:00:00.000Z");
    expect(sent?.deadline && timestampDate(sent.deadline).toISOString()).toBe("2027-02-01T00:00:00.000Z");
    expect(sent?.retry?.initialBackoff && durationMs(sent.retry.initialBackoff)).toBe(250);
    expect(sent?.retry?.maxBackoff && durationMs(sent.retry.maxBackoff)).toBe(600_000);
    expect(sent?.disconnectLimit && durationMs(sent.disconnectLimit)).toBe(86_400_000);
  });

  test("leaves what was not said to the hub", async () => {
    let sent: JobSpec | undefined;
    const cli = await withHub({
      jobs: {
        submit: ({ job: spec }) => {
          sent = spec;
          return { jobId: "job-1", existing: true };
        },
      },
    });
    const result = await cli(["submit", "greet", "--json"]);
    expect(JSON.parse(result.stdout)).toEqual({ jobId: "job-1", existing: true });
    expect(sent).toMatchObject({
      priority: Priority.UNSPECIFIED,
      product: "",
      contentType: "",
      payload: new Uint8Array(),
    });
    expect(sent?.retry).toBeUndefined();
    expect(sent?.runAt).toBeUndefined();
  });

  test("reads the payload from stdin, as it is when its type is given", async () => {
    let sent: JobSpec | undefined;
    const cli = await withHub({
      jobs: {
        submit: ({ job: spec }) => {
          sent = spec;
          return { jobId: "job-1" };
        },
      },
    });
    await cli(["submit", "greet", "--payload", "-", "--content-type", "text/plain"], "not JSON");
    expect(sent?.contentType).toBe("text/plain");
    expect(Buffer.from(sent?.payload ?? []).toString()).toBe("not JSON");
  });

  test.each([
    { state: JobState.SUCCEEDED, exitCode: EXIT.ok },
    { state: JobState.DEAD, exitCode: EXIT.jobNotSucceeded },
    { state: JobState.CANCELLED, exitCode: EXIT.jobNotSucceeded },
  ])(
    "--wait ends with $exitCode for state $state, and with the outcome on stdout",
    async ({ state, exitCode }) => {
      const cli = await withHub({
        jobs: {
          submit: () => ({ jobId: "job-1" }),
          watch: async function* () {
            yield {
              update: { case: "event", value: { jobId: "job-1", state: JobState.READY, revision: 1 } },
            };
            yield { update: { case: "event", value: { jobId: "job-1", state, revision: 2 } } };
          },
          get: () => ({ job: job({ state }) }),
        },
      });
      const text = await cli(["submit", "greet", "--wait"]);
      const json = await cli(["submit", "greet", "--wait", "--json"]);
      expect(text.exitCode).toBe(exitCode);
      expect(text.stdout).toMatch(/outcome +success Hello, Ada/);
      expect(json).toMatchObject({ exitCode, stderr: "" });
      expect(JSON.parse(json.stdout)).toMatchObject({
        jobId: "job-1",
        job: { id: "job-1", resultValue: "Hello, Ada" },
      });
    },
  );

  test("--timeout ends the wait with 9 and leaves the job alone", async () => {
    const cli = await withHub({
      jobs: { submit: () => ({ jobId: "job-1" }), watch: untilClosed },
    });
    const result = await cli(["submit", "greet", "--wait", "--timeout", "50ms"]);
    expect(result.exitCode).toBe(EXIT.timedOut);
    expect(result.stderr).toMatch(/holdfast watch job-1/);
  });
});

describe("submit --batch", () => {
  test("sends lines with the options as defaults, and says of each what became of it", async () => {
    let sent: readonly JobSpec[] = [];
    const cli = await withHub({
      jobs: {
        submitBatch: ({ jobs }) => {
          sent = jobs;
          return {
            results: jobs.map((spec, index) =>
              spec.kind === "bad"
                ? { result: { case: "refused", value: { reason: "INVALID_FIELD", message: "no" } } }
                : { result: { case: "accepted", value: { jobId: `job-${index}` } } },
            ),
          };
        },
      },
    });
    const lines = [
      '{"payload":{"n":1},"labels":{"own":"1"}}',
      "",
      '{"kind":"bad","priority":"low"}',
      '{"kind":"other","queue":"q2","idempotencyKey":"k","uniqueKey":"u","uniquePolicy":"refuse","maxAttempts":2,"initialBackoff":"1s"}',
    ].join("\n");
    const args = ["submit", "greet", "--batch", "-", "--queue", "q", "--label", "run=7", "--json"];
    const result = await cli(args, lines);
    expect(result).toMatchObject({ exitCode: EXIT.refused, stderr: "" });
    expect(
      result.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { line: 1, jobId: "job-0", existing: false },
      { line: 3, refused: { reason: "INVALID_FIELD", message: "no", metadata: {} } },
      { line: 4, jobId: "job-2", existing: false },
    ]);
    expect(sent).toMatchObject([
      { kind: "greet", queue: "q", labels: { run: "7", own: "1" }, contentType: "application/json" },
      { kind: "bad", queue: "q", priority: Priority.LOW },
      {
        kind: "other",
        queue: "q2",
        idempotencyKey: "k",
        unique: { key: "u", policy: UniquePolicy.REFUSE },
        retry: { maxAttempts: 2 },
      },
    ]);
  });

  test("sends a long file in chunks", async () => {
    const chunks: number[] = [];
    const cli = await withHub({
      jobs: {
        submitBatch: ({ jobs }) => {
          chunks.push(jobs.length);
          return { results: jobs.map(() => ({ result: { case: "accepted", value: { jobId: "j" } } })) };
        },
      },
    });
    const result = await cli(["submit", "--batch", "-"], '{"kind":"greet"}\n'.repeat(2_500));
    expect(result.exitCode).toBe(EXIT.ok);
    expect(chunks).toEqual([1_000, 1_000, 500]);
    expect(result.stderr).toContain("2500 accepted, 0 refused");
  });
});

describe("get", () => {
  test("writes the job and its history for people, and as one document for machines", async () => {
    const at = Date.now() - 60_000;
    const history = [
      { id: "1-1-0", jobId: "job-1", type: 1, state: JobState.READY, revision: 1, at: timestampFromMs(at) },
      {
        id: "1-2-0",
        jobId: "job-1",
        type: 3,
        state: JobState.LEASED,
        revision: 2,
        at: timestampFromMs(at + 1_500),
      },
    ];
    const cli = await withHub({
      jobs: { get: ({ includeHistory }) => ({ job: job(), history: includeHistory ? history : [] }) },
    });
    const text = await cli(["get", "job-1", "--history"]);
    const json = await cli(["get", "job-1", "--history", "--json"]);
    const alone = await cli(["get", "job-1", "--json"]);
    expect(text.stdout).toMatch(/state +succeeded/);
    expect(text.stdout).toMatch(/payload +\{"name":"Ada"\}/);
    expect(text.stdout).toMatch(/2 .* \+1 s +leased +leased/);
    expect(JSON.parse(json.stdout)).toMatchObject({
      job: { state: "JOB_STATE_SUCCEEDED", payloadValue: { name: "Ada" }, resultValue: "Hello, Ada" },
      history: [{ revision: 1 }, { type: "JOB_EVENT_TYPE_LEASED" }],
    });
    expect(JSON.parse(alone.stdout)).not.toHaveProperty("history");
  });
});

describe("list", () => {
  const jobs = Array.from({ length: 1_200 }, (_, index) => job({ id: `job-${index}` }));
  async function listHub(requests: ListRequest[]) {
    return withHub({
      jobs: {
        list: (request) => {
          requests.push(request);
          const start = Number(request.pageToken || 0);
          // Pages may be empty although more follow.
          const end = start === 0 && request.pageToken === "" ? 0 : start + request.pageSize;
          return {
            jobs: jobs.slice(start, end),
            nextPageToken: end < jobs.length ? (end === 0 ? "00" : String(end)) : "",
          };
        },
      },
    });
  }

  test("passes its filters, and stops at its limit over page borders", async () => {
    const requests: ListRequest[] = [];
    const cli = await listHub(requests);
    const result = await cli(
      "list --state dead,ready --kind k --queue q --product p --label a=1 --since -1h --limit 700 --json".split(
        " ",
      ),
    );
    expect(result.stdout.trim().split("\n")).toHaveLength(700);
    expect(requests.map(({ pageSize }) => pageSize)).toEqual([500, 500, 200]);
    expect(requests[0]).toMatchObject({
      states: [JobState.DEAD, JobState.READY],
      kind: "k",
      queue: "q",
      product: "p",
      labels: { a: "1" },
    });
    expect(Date.now() - Number(requests[0]?.submittedAfter?.seconds) * 1_000).toBeGreaterThan(3_500_000);
  });

  test("shows all with --all, each a line of JSON", async () => {
    const cli = await listHub([]);
    const result = await cli(["list", "--all", "--json"]);
    const lines = result.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id));
  });

  test("writes an aligned table with relative times for people", async () => {
    const cli = await listHub([]);
    const { stdout, stderr } = await cli(["list", "--limit", "2"]);
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^ID {5}KIND {3}STATE {6}ATTEMPT {2}QUEUE {4}SUBMITTED {2}NOTE$/),
      expect.stringMatching(/^job-0 {2}greet {2}succeeded {2}1\/5 {6}default {2}\d s ago$/),
      expect.stringMatching(/^job-1 {2}greet {2}succeeded/),
      "",
    ]);
    expect(stderr).toMatch(/newest 2/);
  });

  test("says so when nothing matches", async () => {
    const cli = await withHub({ jobs: { list: () => ({}) } });
    expect(await cli(["list"])).toEqual({ exitCode: EXIT.ok, stdout: "", stderr: "No jobs match.\n" });
    expect(await cli(["list", "--json"])).toEqual({ exitCode: EXIT.ok, stdout: "", stderr: "" });
  });
});

describe("cancel and retry", () => {
  test("pass the reason and the grace, and answer with the job", async () => {
    const seen: unknown[] = [];
    const cli = await withHub({
      jobs: {
        cancel: ({ jobId, reason, grace }) => {
          seen.push([jobId, reason, grace && durationMs(grace)]);
          return { job: job({ state: JobState.CANCELLED }) };
        },
        retry: ({ jobId, reason }) => {
          seen.push([jobId, reason]);
          return { job: job({ state: JobState.READY }) };
        },
      },
    });
    const cancelled = await cli(["cancel", "job-1", "--reason", "wrong", "--grace", "30s"]);
    const retried = await cli(["retry", "job-1", "--json"]);
    expect(cancelled.stdout).toMatch(/state +cancelled/);
    expect(JSON.parse(retried.stdout)).toMatchObject({ job: { state: "JOB_STATE_READY" } });
    expect(seen).toEqual([
      ["job-1", "wrong", 30_000],
      ["job-1", ""],
    ]);
  });
});

test("the API key is sent as a bearer token, from the option or the environment", async () => {
  const cli = await withHub({ jobs: { get: () => ({ job: job() }) } });
  await cli(["get", "job-1"]);
  await cli(["get", "job-1", "--api-key", "hf_a_b"]);
  process.env.HOLDFAST_API_KEY = "hf_c_d";
  await cli(["get", "job-1"]).finally(() => delete process.env.HOLDFAST_API_KEY);
  expect(hub?.credentials).toEqual([null, "Bearer hf_a_b", "Bearer hf_c_d"]);
});

test("a refusal in the middle of a list leaves valid JSON lines on stdout and the error on stderr", async () => {
  const cli = await withHub({
    jobs: {
      list: ({ pageToken }) => {
        if (pageToken !== "") {
          throw refusal(Code.Unavailable, "LEDGER_UNAVAILABLE", "Gone.");
        }
        return { jobs: [job()], nextPageToken: "2" };
      },
    },
  });
  const result = await cli(["list", "--all", "--json"]);
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(JSON.parse(result.stdout)).toMatchObject({ id: "job-1" });
  expect(JSON.parse(result.stderr)).toMatchObject({ error: { reason: "LEDGER_UNAVAILABLE" } });
});

async function* untilClosed(_request: unknown, { signal }: HandlerContext): AsyncGenerator<never> {
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
}
