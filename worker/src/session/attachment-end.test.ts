import { expect, test } from "vitest";
import { endOfFailure } from "./attachment-end.js";

const failure = (reason: string) => ({
  reason,
  message: "m",
  metadata: {},
  grpcCode: 10,
  retryAfterMs: undefined,
});

test("only reasons that no retry cures end the worker", () => {
  const outcomes = Object.fromEntries(
    [
      "UNAUTHENTICATED",
      "SCOPE_MISSING",
      "KIND_NOT_ALLOWED",
      "UNSUPPORTED_VERSION",
      "INVALID_FIELD",
      "SESSION_EXPIRED",
      "SUPERSEDED",
      "HEARTBEAT_MISSED",
      "DELIVERY_UNACKNOWLEDGED",
      "CREDIT_OVERFLOW",
      "STREAM_LIMIT",
      "LEDGER_UNAVAILABLE",
      "UNAVAILABLE",
      "PERMISSION_DENIED",
      "UNIMPLEMENTED",
    ].map((reason) => [reason, endOfFailure(failure(reason), 0).outcome]),
  );
  expect(outcomes).toEqual({
    UNAUTHENTICATED: "fatal",
    SCOPE_MISSING: "fatal",
    KIND_NOT_ALLOWED: "fatal",
    UNSUPPORTED_VERSION: "fatal",
    INVALID_FIELD: "fatal",
    SESSION_EXPIRED: "retryable",
    SUPERSEDED: "retryable",
    HEARTBEAT_MISSED: "retryable",
    DELIVERY_UNACKNOWLEDGED: "retryable",
    CREDIT_OVERFLOW: "retryable",
    STREAM_LIMIT: "retryable",
    LEDGER_UNAVAILABLE: "retryable",
    UNAVAILABLE: "retryable",
    PERMISSION_DENIED: "retryable",
    UNIMPLEMENTED: "retryable",
  });
});

test("a session that cannot be resumed is told apart, because the next hello must not name it", () => {
  expect(endOfFailure(failure("SESSION_EXPIRED"), 0)).toMatchObject({ isSessionOver: true });
  expect(endOfFailure(failure("ACK_BEYOND_SENT"), 0)).toMatchObject({ isSessionOver: true });
  expect(endOfFailure(failure("SUPERSEDED"), 0)).toMatchObject({ isSessionOver: false });
});
