import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { refusal } from "./fake-hub.js";
import { jsonError } from "./run-cli.js";
import { withHub } from "./with-hub.js";

const entry = {
  jobId: "0198c7f0-0000-7000-8000-000000000001",
  kind: "order",
  product: "default",
  queue: "default",
  priority: Priority.NORMAL,
  submittedBy: "shop",
  submittedAt: timestampFromMs(Date.now() - 60_000),
  payloadBytes: 9,
  refusal: { reason: "PAYLOAD_TOO_LARGE", message: "The payload is too large." },
  refusedAt: timestampFromMs(Date.now() - 59_000),
};

test("inbox ls lists every page, with the reason of what was refused", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    inbox: {
      list: (request) => {
        requests.push(request);
        const { refusal: _, refusedAt: __, ...waiting } = entry;
        return request.pageToken === ""
          ? { entries: [entry], nextPageToken: "more" }
          : { entries: [waiting] };
      },
    },
  });
  const text = await cli("inbox", "ls", "--refused");
  const json = await cli("inbox", "ls", "--json");
  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout).toMatch(/order +shop .*refused PAYLOAD_TOO_LARGE.*\n.*waiting/);
  expect(
    json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).refusal?.reason),
  ).toEqual(["PAYLOAD_TOO_LARGE", undefined]);
  expect(requests).toMatchObject([{ refusedOnly: true }, { pageToken: "more" }, { refusedOnly: false }, {}]);
});

test("inbox retry and discard show the entry", async () => {
  const requests: unknown[] = [];
  const answer = (request: unknown) => {
    requests.push(request);
    return { entry };
  };
  const cli = await withHub({ inbox: { retry: answer, discard: answer } });
  const text = await cli("inbox", "retry", entry.jobId);
  const why = ["--reason", "sold out", "--ticket", "OPS-4"];
  const json = await cli("inbox", "discard", entry.jobId, ...why, "--json");
  expect(text.stdout).toContain("PAYLOAD_TOO_LARGE");
  expect(JSON.parse(json.stdout).entry).toMatchObject({ jobId: entry.jobId, submittedBy: "shop" });
  expect(requests).toMatchObject([
    { jobId: entry.jobId, justification: { reason: "", ticket: "" } },
    { jobId: entry.jobId, justification: { reason: "sold out", ticket: "OPS-4" } },
  ]);
});

test.each([
  [
    () => refusal(Code.NotFound, "INBOX_ENTRY_NOT_FOUND", "There is none."),
    EXIT.notFound,
    "INBOX_ENTRY_NOT_FOUND",
  ],
  [() => refusal(Code.FailedPrecondition, "NOT_REFUSED", "It waits."), EXIT.refused, "NOT_REFUSED"],
])("a refusal of the hub has its exit code and says what to do: %#", async (refuse, exitCode, reason) => {
  const throwing = () => {
    throw refuse();
  };
  const cli = await withHub({ inbox: { discard: throwing } });
  const result = await cli("inbox", "discard", entry.jobId, "--json");
  expect(result.exitCode).toBe(exitCode);
  expect(jsonError(result)).toMatchObject({ reason, next: expect.stringMatching(/\w/) });
});
