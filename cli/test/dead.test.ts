import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { FailureClass } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeServices, refusal } from "./fake-hub.js";
import { jsonError, type run } from "./run-cli.js";
import { withHub } from "./with-hub.js";

async function withLetters(
  services: FakeServices["deadLetters"] = {},
): Promise<(...args: string[]) => ReturnType<typeof run>> {
  const cli = await withHub({ deadLetters: services });
  return (...args) => cli("dead", ...args);
}

const jobId = "0198c7f0-0000-7000-8000-000000000001";
const letter = {
  jobId,
  kind: "order",
  attempt: 5,
  maxAttempts: 5,
  diedAt: timestampFromMs(Date.now() - 60_000),
  failure: { code: "HTTP_429", message: "slow down, order 17" },
  failureClass: FailureClass.RATE_LIMITED,
  fingerprint: "0123456789ab",
};
const refused = { reason: "DEAD_LETTER_NOT_FOUND", message: "The job is no dead letter." };

test("dead ls passes the filter on and lists every page", async () => {
  const requests: unknown[] = [];
  const cli = await withLetters({
    list: (request) => {
      requests.push(request);
      return { letters: [letter], nextPageToken: request.pageToken === "" ? "more" : "" };
    },
  });
  const text = await cli("ls", "--class", "rate-limited", "--kind", "order", "--before", "-1m", "--resolved");
  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout.match(/rate-limited +0123456789ab +HTTP_429: slow down/g)).toHaveLength(2);
  expect(requests).toMatchObject([
    { filter: { failureClass: FailureClass.RATE_LIMITED, kind: "order", withResolved: true } },
    { pageToken: "more", filter: { kind: "order", diedBefore: { nanos: expect.any(Number) } } },
  ]);
});

test("dead show tells the whole letter, its resolution included", async () => {
  const resolution = { at: timestampFromMs(Date.now()), by: "ops", note: "not needed" };
  const cli = await withLetters({ get: () => ({ letter: { ...letter, resolution } }) });
  const text = await cli("show", jobId);
  const json = await cli("show", jobId, "--json");
  expect(text.stdout).toContain("not needed");
  expect(JSON.parse(json.stdout).letter).toMatchObject({
    failureClass: "FAILURE_CLASS_RATE_LIMITED",
    resolution: { by: "ops" },
  });
});

test("dead clusters shows groups, largest first as the hub has them", async () => {
  const cluster = {
    ...letter,
    code: "HTTP_429",
    pattern: "slow down, order <n>",
    count: 40,
    kinds: ["order"],
  };
  const cli = await withLetters({
    listClusters: () => ({ clusters: [cluster], letters: 40, truncated: true }),
  });
  const text = await cli("clusters");
  const json = await cli("clusters", "--json");
  expect(text.stdout).toMatch(/40 +rate-limited +0123456789ab +HTTP_429 .*slow down, order <n>/);
  expect(text.stderr).toContain("The newest 40");
  expect(JSON.parse(json.stdout)).toMatchObject({ letters: 40, truncated: true, clusters: [{ count: 40 }] });
});

test("dead retry shows what it would do, and does it batch by batch when told to", async () => {
  const requests: { dryRun: boolean; pageSize: number }[] = [];
  const cli = await withLetters({
    retry: (request) => {
      requests.push(request);
      return { results: [{ jobId }], nextPageToken: request.pageToken === "" ? "more" : "" };
    },
  });
  const shown = await cli("retry", "--fingerprint", "0123456789ab");
  const done = await cli(
    "retry",
    "--fingerprint",
    "0123456789ab",
    "--yes",
    "--batch",
    "7",
    "--pause",
    "1ms",
    "--reason",
    "x",
  );
  expect(shown).toMatchObject({ exitCode: EXIT.ok });
  expect(shown.stderr).toContain("2 would be retried");
  expect(done.stderr).toContain("2 went back to work");
  expect(requests.map(({ dryRun }) => dryRun)).toEqual([true, true, false, false]);
  expect(requests[3]).toMatchObject({
    pageSize: 7,
    pageToken: "more",
    reason: "x",
    target: { case: "filter", value: { fingerprint: "0123456789ab" } },
  });
});

test("dead retry of ids that are no dead letters says so, and is refused", async () => {
  const cli = await withLetters({ retry: () => ({ results: [{ jobId }, { jobId, refused }] }) });
  const result = await cli("retry", jobId, "other", "--yes");
  expect(result.exitCode).toBe(EXIT.refused);
  expect(result.stdout).toMatch(/retried\n.*DEAD_LETTER_NOT_FOUND/);
});

test("dead resolve passes ids and note on", async () => {
  const requests: unknown[] = [];
  const cli = await withLetters({
    resolve: (request) => {
      requests.push(request);
      return { results: [{ jobId }] };
    },
  });
  const json = await cli("resolve", jobId, "--note", "not needed", "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({ jobId });
  expect(requests).toMatchObject([{ jobs: { jobIds: [jobId] }, note: "not needed" }]);
});

test.each([
  [["retry"]],
  [["retry", jobId, "--kind", "order"]],
  [["retry", jobId, "--all"]],
  [["ls", "--class", "sleepy"]],
  [["resolve", jobId]],
])("dead %s is a usage error: %#", async (args) => {
  const cli = await withLetters();
  expect((await cli(...args)).exitCode).toBe(EXIT.usage);
});

test("a letter that is not there has its exit code and says what to do", async () => {
  const cli = await withLetters({
    get: () => {
      throw refusal(Code.NotFound, "DEAD_LETTER_NOT_FOUND", "There is none.");
    },
  });
  const result = await cli("show", jobId, "--json");
  expect(result.exitCode).toBe(EXIT.notFound);
  expect(jsonError(result)).toMatchObject({ next: expect.stringContaining("holdfast dead ls") });
});
