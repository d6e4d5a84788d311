import { Metadata, status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { statusDetails } from "../../test/scripted-hub.js";
import { callFailure } from "./call-failure.js";

function failed(details: Buffer | undefined) {
  const metadata = new Metadata();
  if (details !== undefined) metadata.set("grpc-status-details-bin", details);
  return { code: status.NOT_FOUND, details: "there is none", metadata };
}

test("the hub's reason and metadata are read out of the status details", () => {
  const details = statusDetails(5, "JOB_NOT_FOUND", { job_id: "7", retry_after: "0.04s" });
  expect(callFailure(failed(details))).toEqual({
    reason: "JOB_NOT_FOUND",
    message: "there is none",
    metadata: { job_id: "7", retry_after: "0.04s" },
    grpcCode: status.NOT_FOUND,
    retryAfterMs: 40,
  });
});

test("without details the status speaks for itself", () => {
  expect(callFailure(failed(undefined))).toMatchObject({ reason: "NOT_FOUND", message: "there is none" });
  expect(callFailure({ code: status.UNAVAILABLE, details: "" })).toMatchObject({
    reason: "UNAVAILABLE",
    message: "UNAVAILABLE",
  });
});

test("a note that the transport announces and does not have is left out of the message", () => {
  const details = "No connection established. Last error: connect ECONNREFUSED. Resolution note: ";
  const { message } = callFailure({ code: status.UNAVAILABLE, details });
  expect(message).toBe("No connection established. Last error: connect ECONNREFUSED");
});

test("details that cannot be read, or are somebody else's, do not hide the status", () => {
  const whole = statusDetails(5, "JOB_NOT_FOUND", { job_id: "7" });
  for (let length = 1; length < whole.length; length++) {
    expect(callFailure(failed(whole.subarray(0, length)))).toMatchObject({ grpcCode: status.NOT_FOUND });
  }
  const foreign = Buffer.from(whole.toString("latin1").replace("holdfast", "elsewher"), "latin1");
  expect(callFailure(failed(foreign))).toMatchObject({ reason: "NOT_FOUND", metadata: {} });
});

test.each([
  ["0.5s", 500],
  ["2s", 2_000],
  ["9999999999s", 0x7fff_ffff],
  ["soon", undefined],
])("a hub that says to come back after %s is understood as %s ms", (text, retryAfterMs) => {
  expect(callFailure(failed(statusDetails(8, "BACKLOG_FULL", { retry_after: text })))).toMatchObject({
    retryAfterMs,
  });
});
