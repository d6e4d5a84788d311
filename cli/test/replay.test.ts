import { Code } from "@connectrpc/connect";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { ReplayVerdict } from "@holdfast/gen/holdfast/v1/replay_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeServices, refusal } from "./fake-hub.js";
import { jsonError } from "./run-cli.js";
import { withHub } from "./with-hub.js";

const original = "0198c7f0-0000-7000-8000-000000000001";
const replayId = "0198c7f0-0000-7000-8000-000000000002";
const child = "0198c7f0-0000-7000-8000-000000000003";

type Jobs = NonNullable<FakeServices["jobs"]>;

const job = (jobId: string, verdict: ReplayVerdict) => ({
  jobId,
  originalJobId: original,
  kind: "scan",
  idempotencyKey: "a",
  originalState: JobState.SUCCEEDED,
  state: JobState.SUCCEEDED,
  originalDigest: Buffer.from("aabbccddeeff0011", "hex"),
  digest: Buffer.from("1100ffeeddccbbaa", "hex"),
  verdict,
});
const pages = (second: ReplayVerdict): Jobs => ({
  getReplay: ({ pageToken }) => ({
    replay: { id: replayId, originalId: original, isRun: true, jobs: 2, reason: "new" },
    jobs: pageToken === "" ? [job(replayId, ReplayVerdict.SAME)] : [job(child, second)],
    nextPageToken: pageToken === "" ? "more" : "",
  }),
});

test("replay show reads every page, puts what drifted first, and its exit code says so", async () => {
  const cli = await withHub({ jobs: pages(ReplayVerdict.DRIFTED) });

  const text = await cli("replay", "show", replayId);
  const json = await cli("replay", "show", replayId, "--json");

  expect([text.exitCode, json.exitCode]).toEqual([EXIT.drifted, EXIT.drifted]);
  expect(text.stdout).toMatch(/jobs +2: 1 same, 1 drifted/);
  expect(text.stdout.indexOf(child)).toBeLessThan(text.stdout.lastIndexOf(replayId));
  expect(text.stdout).toContain("succeeded aabbccddeeff  succeeded 1100ffeeddcc");
  expect(JSON.parse(json.stdout)).toMatchObject({
    replay: { id: replayId, isRun: true },
    jobs: [{ verdict: "REPLAY_VERDICT_SAME" }, { verdict: "REPLAY_VERDICT_DRIFTED" }],
  });
});

test("replay asks with a request id of its own and the reason, and answers with the new id", async () => {
  const requests: object[] = [];
  const cli = await withHub({
    jobs: {
      replay: (request) => {
        requests.push(request);
        return { replayId, jobs: 2 };
      },
    },
  });

  const answer = await cli("replay", original, "--reason", "why not", "--repeat-effects");

  expect(answer).toMatchObject({ exitCode: EXIT.ok, stdout: `${replayId}\n` });
  expect(requests).toMatchObject([{ jobId: original, reason: "why not", repeatEffects: true }]);
  expect(requests[0]).toHaveProperty("requestId", expect.stringMatching(/.{36}/));
});

test("replay --wait ends with the comparison, once nothing is pending", async () => {
  const event = { jobId: replayId, type: JobEventType.SUCCEEDED, state: JobState.SUCCEEDED, revision: 3 };
  let looks = 0;
  const cli = await withHub({
    jobs: {
      replay: () => ({ replayId, jobs: 1 }),
      async *watch() {
        yield { update: { case: "event" as const, value: event } };
      },
      getReplay: () => {
        looks += 1;
        const pending = looks < 3 ? 1 : 0;
        return {
          replay: { id: replayId, originalId: original, jobs: 1, pending },
          jobs: [job(replayId, ReplayVerdict.SAME)],
        };
      },
    },
  });

  const answer = await cli("replay", original, "--wait");

  expect(answer.exitCode).toBe(EXIT.ok);
  expect(looks).toBe(3);
  expect(answer.stdout).toContain("1: 1 same");
});

test("what is refused is said with what to do", async () => {
  const cli = await withHub({
    jobs: {
      replay: () => {
        throw refusal(Code.FailedPrecondition, "NOT_TERMINAL", "This job is open.");
      },
    },
  });

  const open = await cli("replay", original, "--json");
  const alone = await cli("replay", original, "--timeout", "1s", "--json");

  expect(open.exitCode).toBe(EXIT.refused);
  expect(jsonError(open)).toMatchObject({ reason: "NOT_TERMINAL" });
  expect(alone.exitCode).toBe(EXIT.usage);
});

test("get says why a job is there, or there again", async () => {
  const cli = await withHub({
    jobs: {
      get: () => ({
        job: {
          id: child,
          kind: "scan",
          state: JobState.READY,
          causes: [
            { cause: { case: "replay", value: { replayId, jobId: original } } },
            { cause: { case: "compensation", value: { jobId: original } } },
            { cause: { case: "retry", value: { reason: "mended" } } },
          ],
        },
      }),
    },
  });

  const { stdout } = await cli("get", child);

  expect(stdout).toContain(
    `replay of ${original} (${replayId}); undoes ${original}; retried by an operator (mended)`,
  );
});
