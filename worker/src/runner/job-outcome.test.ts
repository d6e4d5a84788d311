import { fromBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JobFailure } from "../job-errors.js";
import { encodeValue, failureOutcome, revokedOutcome } from "./job-outcome.js";

const read = (bytes: Uint8Array) => fromBinary(OutcomeSchema, bytes).outcome;

function readFailure(bytes: Uint8Array) {
  const outcome = read(bytes);
  if (outcome.case !== "failure") throw new Error(`not a failure: ${outcome.case}`);
  return outcome.value;
}

/** What plain JavaScript may throw, and what throws itself when it is looked at. */
function hostile(): unknown[] {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return [
    proxy,
    Object.create(null),
    Symbol("thrown"),
    Object.assign(new Error("m"), { message: Symbol("message") }),
    Object.assign(new Error("m"), { name: Object.create(null) }),
    Object.defineProperty(new Error("m"), "code", { get: thrower }),
    Object.defineProperty(new JobFailure("A", "m"), "message", { get: thrower }),
    Object.assign(new JobFailure("A", "m"), { code: Symbol("code") }),
    Object.assign(new JobFailure("A", "m"), { code: undefined, permanent: 1, retryAfterMs: "soon" }),
    Object.assign(new JobFailure("A", "m"), { retryAfterMs: Symbol("later"), message: 5 }),
  ];
}

function thrower(): never {
  throw new Error("thrown by a getter");
}

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

  test.each([
    [1_500, 1_500],
    [0.4, 0],
    [-5, 0],
    [Number.NaN, 0],
    [Number.NEGATIVE_INFINITY, 0],
    [7 * 86_400_000 + 1, 7 * 86_400_000],
    [1e300, 7 * 86_400_000],
    [Number.POSITIVE_INFINITY, 7 * 86_400_000],
  ])(
    "of which retryAfterMs is %d asks for %d: no hub takes less than 0 or more than 7 days",
    (given, asked) => {
      const { retryAfter } = readFailure(failureOutcome(new JobFailure("A", "m", { retryAfterMs: given })));
      expect(retryAfter === undefined ? 0 : durationMs(retryAfter)).toBe(asked);
    },
  );

  test("comes of whatever was thrown, in the form that the wire demands", () => {
    const options = fc.record({ permanent: fc.anything(), retryAfterMs: fc.anything() });
    const failures = fc
      .tuple(fc.anything(), fc.anything(), options)
      .map(([code, message, fields]) =>
        Object.assign(new JobFailure("A", "m"), { code, message, ...fields }),
      );
    // Each behind a function: fast-check looks at what it draws.
    const thrown = fc.oneof(
      fc.oneof(fc.anything(), failures).map((value) => () => value),
      fc.constantFrom(...hostile().map((value) => () => value)),
    );
    fc.assert(
      fc.property(thrown, (take) => {
        const { code, message, retryAfter } = readFailure(failureOutcome(take()));
        expect(code).toMatch(/^[A-Z0-9_]{1,64}$/);
        expect(Buffer.byteLength(message)).toBeLessThanOrEqual(4096);
        expect(message).not.toContain("\0");
        if (retryAfter !== undefined) expect(durationMs(retryAfter)).toBeLessThanOrEqual(7 * 86_400_000);
      }),
    );
  });

  test("has a message without NUL, which no hub takes", () => {
    expect(readFailure(failureOutcome(new Error("a\0b"))).message).toBe("Error: a\ufffdb");
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
