import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import type { JobService, WatchRequest } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { afterEach, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeHub, jobNotFound, startFakeHub } from "./fake-hub.js";
import { jsonError, run } from "./run-cli.js";

let hub: FakeHub | undefined;
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
});

type Watch = ServiceImpl<typeof JobService>["watch"];

const event = (jobId: string, revision: number, state: JobState) =>
  ({ update: { case: "event", value: { jobId, revision, state, type: 1 } } }) as const;

/** Runs `watch` on a hub whose n-th Watch call is answered by the n-th script. */
async function watch(scripts: readonly Watch[], args: readonly string[]) {
  const requests: WatchRequest[] = [];
  hub = await startFakeHub({
    jobs: {
      watch: (request, context) => {
        const script = scripts[requests.length];
        requests.push(request);
        if (script === undefined) {
          throw new Error("one call too many");
        }
        return script(request, context);
      },
    },
  });
  const result = await run(["watch", ...args, "--hub", hub.url]);
  const targets = requests.map((request) =>
    request.targets.map(({ jobId, afterRevision }) => `${jobId}>${afterRevision}`),
  );
  return { ...result, targets };
}

test("a watch shows every event and ends well when every job succeeded", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 1, JobState.READY);
        yield event("b", 1, JobState.SUCCEEDED);
        yield {
          update: { case: "progress", value: { jobId: "a", progress: { percent: 42.4, message: "half" } } },
        };
        yield event("a", 2, JobState.SUCCEEDED);
      },
    ],
    ["a", "b", "a"],
  );
  expect(result.exitCode).toBe(EXIT.ok);
  expect(result.targets).toEqual([["a>0", "b>0"]]);
  expect(result.stdout.trim().split("\n")).toEqual([
    expect.stringMatching(/a {2}ready/),
    expect.stringMatching(/b {2}succeeded/),
    "a  42 % half",
    expect.stringMatching(/a {2}succeeded/),
  ]);
});

test("a --timeout of months does not end the watch at once", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 1, JobState.READY);
        // Longer than the timer of 1 ms that Node makes of what is too far ahead.
        await new Promise((resolve) => setTimeout(resolve, 50));
        yield event("a", 2, JobState.SUCCEEDED);
      },
    ],
    ["a", "--timeout", "90d"],
  );
  expect(result).toMatchObject({ exitCode: EXIT.ok, stderr: "" });
});

test("a job that did not succeed ends the watch with 7", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 1, JobState.DEAD);
        yield event("b", 1, JobState.SUCCEEDED);
      },
    ],
    ["a", "b", "--json"],
  );
  expect(result).toMatchObject({ exitCode: EXIT.jobNotSucceeded, stderr: "" });
  expect(
    result.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).event.state),
  ).toEqual(["JOB_STATE_DEAD", "JOB_STATE_SUCCEEDED"]);
});

test("a dead letter that an operator revived meanwhile is followed to its next end", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 4, JobState.DEAD);
        yield event("a", 5, JobState.READY);
        yield event("a", 7, JobState.SUCCEEDED);
      },
    ],
    ["a"],
  );
  expect(result.exitCode).toBe(EXIT.ok);
});

test("a lost connection is resumed after the last revision of each job, and nothing is told twice", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 1, JobState.READY);
        yield event("b", 3, JobState.SUCCEEDED);
        yield event("a", 2, JobState.LEASED);
        setTimeout(() => hub?.cut(), 20);
        await new Promise(() => {});
      },
      // A hub that stops ends its streams early.
      async function* () {},
      async function* () {
        yield event("a", 3, JobState.SUCCEEDED);
      },
    ],
    ["a", "b", "--json"],
  );
  expect(result).toMatchObject({ exitCode: EXIT.ok, stderr: "" });
  expect(result.targets).toEqual([
    ["a>0", "b>0"],
    ["a>2", "b>3"],
    ["a>2", "b>3"],
  ]);
  expect(
    result.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).event.revision),
  ).toEqual([1, 3, 2, 3]);
});

test("people are told that the hub went away", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 1, JobState.READY);
      },
      async function* () {
        yield event("a", 2, JobState.SUCCEEDED);
      },
    ],
    ["a"],
  );
  expect(result.exitCode).toBe(EXIT.ok);
  expect(result.stderr).toMatch(/went away.*trying again in \d+ ms/);
});

test("a hub that stays away for longer than --give-up-after ends the watch with 6", async () => {
  const result = await watch(
    [
      async function* () {
        yield event("a", 1, JobState.READY);
        setTimeout(() => void hub?.stop(), 20);
        await new Promise(() => {});
      },
    ],
    ["a", "--give-up-after", "300ms", "--json"],
  );
  hub = undefined;
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(jsonError(result).reason).toBe("HUB_UNREACHABLE");
});

test("a hub that was never reached is not waited for", async () => {
  const result = await run(["watch", "a", "--hub", "http://127.0.0.1:1", "--json"]);
  expect(result.exitCode).toBe(EXIT.unavailable);
});

test("a job that does not exist ends the watch at once", async () => {
  const result = await watch(
    [
      // biome-ignore lint/correctness/useYield: a stream that only refuses.
      async function* () {
        throw jobNotFound();
      },
    ],
    ["nope", "--json"],
  );
  expect(result.exitCode).toBe(EXIT.notFound);
  expect(jsonError(result).reason).toBe("JOB_NOT_FOUND");
});

test("Ctrl-C ends the watch with 130", async () => {
  const result = await watch(
    [
      async function* (_request: WatchRequest, { signal }: HandlerContext) {
        yield event("a", 1, JobState.READY);
        process.emit("SIGINT", "SIGINT");
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    ],
    ["a", "--json"],
  );
  expect(result.exitCode).toBe(EXIT.interrupted);
  expect(jsonError(result).reason).toBe("INTERRUPTED");
});
