import { Code } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { Fault, type FaultReason } from "../domain/fault.js";
import { toConnectError, toFault, toGrpcError, toRefusal } from "./errors.js";

const statuses: readonly (readonly [FaultReason, Code])[] = [
  ["INVALID_FIELD", Code.InvalidArgument],
  ["PAYLOAD_TOO_LARGE", Code.InvalidArgument],
  ["UNAUTHENTICATED", Code.Unauthenticated],
  ["SCOPE_MISSING", Code.PermissionDenied],
  ["KIND_NOT_ALLOWED", Code.PermissionDenied],
  ["AUDIT_FIELDS_MISSING", Code.PermissionDenied],
  ["JOB_NOT_FOUND", Code.NotFound],
  ["IDEMPOTENCY_CONFLICT", Code.AlreadyExists],
  ["UNIQUE_KEY_HELD", Code.AlreadyExists],
  ["DEAD_LETTER_NOT_FOUND", Code.NotFound],
  ["INBOX_ENTRY_NOT_FOUND", Code.NotFound],
  ["NOT_REFUSED", Code.FailedPrecondition],
  ["ALREADY_TERMINAL", Code.FailedPrecondition],
  ["SUPERSEDED", Code.Aborted],
  ["STALE_FENCE", Code.Aborted],
  ["EFFECT_NOT_FOUND", Code.NotFound],
  ["EFFECT_COMPLETED", Code.FailedPrecondition],
  ["CANCEL_REQUESTED", Code.FailedPrecondition],
  ["DEPENDENCY_CYCLE", Code.InvalidArgument],
  ["DEPENDENCY_NOT_FOUND", Code.NotFound],
  ["DEPENDENCY_FAILED", Code.FailedPrecondition],
  ["DEPENDENCY_ELSEWHERE", Code.FailedPrecondition],
  ["PARENT_NOT_WAITING", Code.FailedPrecondition],
  ["NOT_IN_RUN", Code.FailedPrecondition],
  ["RUN_LIMIT", Code.ResourceExhausted],
  ["ACK_BEYOND_SENT", Code.OutOfRange],
  ["STREAM_LIMIT", Code.ResourceExhausted],
  ["BACKLOG_FULL", Code.ResourceExhausted],
  ["LEDGER_UNAVAILABLE", Code.Unavailable],
];

describe("an error", () => {
  it.each(statuses)("%s has one status on both ports", (reason, code) => {
    const fault = new Fault(reason, "no", { field: "x" });

    expect(toConnectError(fault).code).toBe(code);
    const grpc = toGrpcError(fault);
    expect(grpc.code).toBe(code);
    expect(grpc.metadata.get("grpc-status-details-bin")).toHaveLength(1);
    expect(toRefusal(fault)).toEqual({ reason, message: "no", metadata: { field: "x" } });
  });

  it("that nobody foresaw is told to the hub's log, and only that there was one to the caller", () => {
    const defects: unknown[] = [];
    const defect = new Error("password=hunter2");

    const fault = toFault(defect, (error) => defects.push(error));

    expect(fault.reason).toBe("INTERNAL");
    expect(JSON.stringify([fault.message, fault.metadata])).not.toContain("hunter2");
    expect(defects).toEqual([defect]);
  });
});
