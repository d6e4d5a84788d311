import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { EffectState } from "@holdfast/gen/holdfast/v1/effect_pb";
import { JobNoteType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { refusal } from "./fake-hub.js";
import { jsonError } from "./run-cli.js";
import { withHub } from "./with-hub.js";

const job = "0198c7f0-0000-7000-8000-000000000001";
const mail = {
  name: { owner: { case: "jobId" as const, value: job }, key: "mail" },
  state: EffectState.COMPLETED,
  effectToken: 2n,
  holder: { subject: "line-3" },
  takenOver: true,
  claimedAt: timestampFromMs(Date.now() - 60_000),
  completedAt: timestampFromMs(Date.now() - 30_000),
  result: new TextEncoder().encode('{"id":17}'),
  contentType: "application/json",
  resultBytes: 9,
};
const notFound = () => refusal(Code.NotFound, "EFFECT_NOT_FOUND", "There is no such effect.");

test("effects ls names the owner and lists every page", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    effects: {
      list: (request) => {
        requests.push(request);
        const name = { ...mail.name, key: request.pageToken === "" ? "a" : "b" };
        return { effects: [{ ...mail, name }], nextPageToken: request.pageToken === "" ? "more" : "" };
      },
    },
  });
  const text = await cli("effects", "ls", "--job", job);
  const json = await cli("effects", "ls", "--scope", "charges", "--json");
  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout).toMatch(/^a .*completed.*\nb .*completed/m);
  expect(
    json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).name.key),
  ).toEqual(["a", "b"]);
  expect(requests).toMatchObject([
    { owner: { case: "jobId", value: job } },
    { pageToken: "more" },
    { owner: { case: "scope", value: "charges" } },
    { owner: { case: "scope", value: "charges" }, pageToken: "more" },
  ]);
});

test("effects show tells the whole effect, and its result as a value", async () => {
  const cli = await withHub({ effects: { get: () => ({ effect: mail }) } });
  const text = await cli("effects", "show", "mail", "--job", job);
  const json = await cli("effects", "show", "mail", "--job", job, "--json");
  expect(text.stdout).toContain('{"id":17}');
  expect(text.stdout).toContain("may have been done before");
  expect(JSON.parse(json.stdout).effect).toMatchObject({
    state: "EFFECT_STATE_COMPLETED",
    effectToken: "2",
    resultValue: { id: 17 },
  });
});

test("effects abandon passes the reason on and shows what is so now", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    effects: {
      abandon: (request) => {
        requests.push(request);
        const { completedAt: _, ...open } = { ...mail, state: EffectState.OPEN };
        return { effect: { ...open, abandonment: { by: "ops", reason: "burnt down" } } };
      },
    },
  });
  const text = await cli("effects", "abandon", "k", "--scope", "charges", "--reason", "burnt down");
  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout).toContain("burnt down");
  expect(requests).toMatchObject([
    { name: { owner: { case: "scope", value: "charges" }, key: "k" }, effectToken: 0n, reason: "burnt down" },
  ]);
});

test.each([
  [["effects", "ls"]],
  [["effects", "show", "mail"]],
  [["effects", "show", "mail", "--job", job, "--scope", "charges"]],
  [["effects", "abandon", "mail", "--job", job]],
])("%s is a usage error: %#", async (args) => {
  const cli = await withHub({});
  expect((await cli(...args)).exitCode).toBe(EXIT.usage);
});

test.each([
  [notFound, EXIT.notFound, "EFFECT_NOT_FOUND"],
  [
    () => refusal(Code.FailedPrecondition, "EFFECT_COMPLETED", "The effect is completed."),
    EXIT.refused,
    "EFFECT_COMPLETED",
  ],
  [() => refusal(Code.PermissionDenied, "SCOPE_MISSING", "No."), EXIT.notAuthorised, "SCOPE_MISSING"],
])("a refusal of the hub has its exit code and says what to do: %#", async (refuse, exitCode, reason) => {
  const throwing = () => {
    throw refuse();
  };
  const cli = await withHub({ effects: { abandon: throwing } });
  const result = await cli("effects", "abandon", "mail", "--job", job, "--reason", "x", "--json");
  expect(result.exitCode).toBe(exitCode);
  expect(jsonError(result)).toMatchObject({ reason, next: expect.stringMatching(/\w/) });
});

test("get --notes shows what the job did outside, and that there was more", async () => {
  const cli = await withHub({
    jobs: {
      get: ({ includeNotes }) => ({
        job: { id: job, kind: "order", state: JobState.LEASED },
        notes: includeNotes
          ? [{ number: 300n, type: JobNoteType.EFFECT_COMPLETED, name: "mail", bytes: 9 }]
          : [],
        notesTruncated: includeNotes,
      }),
    },
  });
  const text = await cli("get", job, "--notes");
  const json = await cli("get", job, "--notes", "--json");
  expect(text.stdout).toMatch(/300 .*effect-completed\s+mail\s+9/);
  expect(text.stdout).toContain("older notes are not kept");
  expect(JSON.parse(json.stdout)).toMatchObject({ notes: [{ name: "mail" }], notesTruncated: true });
});
