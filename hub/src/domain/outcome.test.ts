import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FailureClass } from "./failure-class.js";
import { JobEventType, JobState } from "./job-state.js";
import { decideOutcome, type Outcome, outcomeFingerprint } from "./outcome.js";
import type { RetryPolicy } from "./retry.js";

const policy: RetryPolicy = { maxAttempts: 3, initialBackoffMs: 1_000, factor: 2, maxBackoffMs: 300_000 };

function failure(overrides: Partial<Extract<Outcome, { type: "failure" }>> = {}): Outcome {
  return {
    type: "failure",
    code: "BOOM",
    message: "it broke",
    permanent: false,
    retryAfterMs: 0,
    ...overrides,
  };
}

describe("what an outcome does to its job (D8)", () => {
  it.each([
    ["a success", { type: "success", result: new Uint8Array(), contentType: "" }, 1, "Succeeded"],
    [
      "a success of the last attempt",
      { type: "success", result: new Uint8Array(), contentType: "" },
      3,
      "Succeeded",
    ],
    ["an acknowledged cancel", { type: "cancelled", reason: "asked" }, 1, "Cancelled"],
    ["an acknowledged cancel in the last attempt", { type: "cancelled", reason: "" }, 3, "Cancelled"],
    ["a permanent failure", failure({ permanent: true }), 1, "Dead"],
    ["a failure of the last attempt", failure(), 3, "Dead"],
    ["a failure of an attempt past the last", failure(), 4, "Dead"],
    [
      "a failure of the last attempt that asks to be tried later",
      failure({ retryAfterMs: 60_000 }),
      3,
      "Dead",
    ],
  ] as const)("%s ends it", (_, outcome, attempt, state) => {
    expect(decideOutcome(outcome as Outcome, attempt, policy, 0.5)).toEqual({
      state: JobState[state],
      event: JobEventType[state],
      delayMs: 0,
    });
  });

  it.each([
    ["the first failure", failure(), 1, 750],
    ["the failure before the last attempt", failure(), 2, 1_500],
    ["a failure that asks for more time", failure({ retryAfterMs: 60_000 }), 1, 60_000],
    ["a failure that asks for less time", failure({ retryAfterMs: 10 }), 1, 750],
  ])("%s is retried after its backoff", (_, outcome, attempt, delayMs) => {
    expect(decideOutcome(outcome, attempt, policy, 0.5)).toEqual({
      state: JobState.Scheduled,
      event: JobEventType.RetryScheduled,
      delayMs,
    });
  });
});

describe("a failure of which the policy says that trying again cannot help (D8)", () => {
  it.each([
    [{ permanentCodes: ["HTTP_404"] }, "HTTP_404", "Dead"],
    [{ permanentCodes: ["HTTP_404"] }, "HTTP_503", "Scheduled"],
    [{ permanentClasses: [FailureClass.ParseError, FailureClass.NotFound] }, "HTTP_404", "Dead"],
    [{ permanentClasses: [FailureClass.ParseError] }, "PARSE_ERROR", "Dead"],
    [{ permanentClasses: [FailureClass.ParseError] }, "HTTP_429", "Scheduled"],
    [{}, "PARSE_ERROR", "Scheduled"],
  ] as const)("%j makes of %s: %s", (more, code, state) => {
    expect(decideOutcome(failure({ code }), 1, { ...policy, ...more }, 0.5).state).toBe(JobState[state]);
  });
});

const outcomes: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({
    type: fc.constant("success" as const),
    result: fc.uint8Array({ maxLength: 20 }),
    contentType: fc.constantFrom("", "text/plain", "application/json"),
  }),
  fc.record({
    type: fc.constant("failure" as const),
    code: fc.constantFrom("A", "B"),
    message: fc.string({ maxLength: 8 }),
    permanent: fc.boolean(),
    retryAfterMs: fc.integer({ min: 0, max: 3 }),
  }),
  fc.record({ type: fc.constant("cancelled" as const), reason: fc.string({ maxLength: 8 }) }),
);

describe("the fingerprint of an outcome (D5)", () => {
  it("is the same for the same outcome and fits a signed 64-bit column", () => {
    fc.assert(
      fc.property(outcomes, (outcome) => {
        const fingerprint = outcomeFingerprint(outcome);
        expect(outcomeFingerprint(structuredClone(outcome))).toBe(fingerprint);
        expect(fingerprint).toBeGreaterThanOrEqual(0n);
        expect(fingerprint).toBeLessThan(1n << 63n);
      }),
    );
  });

  it("differs when anything in the outcome differs", () => {
    fc.assert(
      fc.property(outcomes, outcomes, (one, other) => {
        const isSame = JSON.stringify(one) === JSON.stringify(other);
        expect(outcomeFingerprint(one) === outcomeFingerprint(other)).toBe(isSame);
      }),
    );
  });

  it("does not confuse where one field ends and the next begins", () => {
    const text = (contentType: string, result: string): Outcome => ({
      type: "success",
      contentType,
      result: Buffer.from(result),
    });

    expect(outcomeFingerprint(text("text", "/plain"))).not.toBe(outcomeFingerprint(text("text/", "plain")));
    expect(outcomeFingerprint({ type: "cancelled", reason: "" })).not.toBe(outcomeFingerprint(text("", "")));
  });
});
