import { fromBinary } from "@bufbuild/protobuf";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { describe, expect, test } from "vitest";
import { JobFailure } from "../job-errors.js";
import { encodeValue, failureOutcome, revokedOutcome } from "./job-outcome.js";

const read = (bytes: Uint8Array) => fromBinary(OutcomeSchema, bytes).outcome;

test.each([
  ["nothing", undefined, { body: "", length: 0, contentType: "" }],
  ["text", "größer", { body: "größer", length: 8, contentType: "text/plain; charset=utf-8" }],
  ["an object", { a: [1] }, { body: '{"a":[1]}', length: 9, contentType: "application/json" }],
  ["null", null, { body: "null", length: 4, contentType: "application/json" }],
  ["a number", 5, { body: "5", length: 1, contentType: "application/json" }],
])("%s becomes a result", (_, value, encoded) => {
  expect(encodeValue(value)).toEqual(encoded);
});

test.each([
  ["a function", () => {}],
  ["a big integer", { n: 1n }],
  ["a symbol", Symbol("x")],
])("%s is no result: the job fails for good, and says why", (_, value) => {
  expect(() => encodeValue(value)).toThrow(JobFailure);
  expect(() => encodeValue(value)).toThrow(/JSON/);
});

describe("a failure", () => {
  test.each([
    [new JobFailure("parse-error: x", "m"), "PARSE_ERROR__X"],
    [new JobFailure("", "m"), "HANDLER_ERROR"],
    [new JobFailure("a".repeat(80), "m"), "A".repeat(64)],
    [Object.assign(new Error("m"), { code: "ENOENT" }), "ENOENT"],
    [Object.assign(new Error("m"), { code: 404 }), "404"],
    [Object.assign(new Error("m"), { code: {} }), "HANDLER_ERROR"],
    [null, "HANDLER_ERROR"],
    ["text", "HANDLER_ERROR"],
  ])("%s has a code of the form that the wire demands", (error, code) => {
    expect(read(failureOutcome(error))).toMatchObject({ case: "failure", value: { code } });
  });

  test("is retryable unless it says otherwise", () => {
    expect(read(failureOutcome(new Error("m")))).toMatchObject({ value: { permanent: false } });
    expect(read(failureOutcome(new JobFailure("A", "m", { permanent: true })))).toMatchObject({
      value: { permanent: true },
    });
  });

  test("has at most 4096 bytes of message, cut between characters", () => {
    const { value } = read(failureOutcome(new JobFailure("A", "€".repeat(2_000)))) as {
      value: { message: string };
    };
    expect(value.message).toBe("€".repeat(1_365));
  });
});

test("a revoked attempt ends as its reason demands", () => {
  expect(read(revokedOutcome("cancelled", "not needed") as Uint8Array)).toMatchObject({
    case: "cancelled",
    value: { reason: "not needed" },
  });
  expect(read(revokedOutcome("deadline", "late") as Uint8Array)).toMatchObject({
    value: { code: "DEADLINE_EXCEEDED", permanent: true },
  });
  expect(revokedOutcome("preempted", "")).toBe("release");
  expect(revokedOutcome("quarantined", "")).toBe("release");
});
