// The one mapping from faults to statuses. Code numbers are those of gRPC, which Connect shares.
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { Fault, type FaultReason } from "../domain/fault.js";
import type { Refusal } from "../services/session-messages.js";
import { encodeErrorInfo, encodeStatus, errorDomain, errorInfoType, errorMetadata } from "./error-details.js";

const codes: Readonly<Record<FaultReason, Code>> = {
  INVALID_FIELD: Code.InvalidArgument,
  PAYLOAD_TOO_LARGE: Code.InvalidArgument,
  UNAUTHENTICATED: Code.Unauthenticated,
  SCOPE_MISSING: Code.PermissionDenied,
  KIND_NOT_ALLOWED: Code.PermissionDenied,
  AUDIT_FIELDS_MISSING: Code.PermissionDenied,
  JOB_NOT_FOUND: Code.NotFound,
  KEY_NOT_FOUND: Code.NotFound,
  EFFECT_NOT_FOUND: Code.NotFound,
  CHANNEL_NOT_FOUND: Code.NotFound,
  CURSOR_NOT_FOUND: Code.NotFound,
  INBOX_ENTRY_NOT_FOUND: Code.NotFound,
  DEAD_LETTER_NOT_FOUND: Code.NotFound,
  LIMIT_NOT_FOUND: Code.NotFound,
  SCHEDULE_NOT_FOUND: Code.NotFound,
  BACKFILL_NOT_FOUND: Code.NotFound,
  SOURCE_NOT_FOUND: Code.NotFound,
  SEAL_NOT_FOUND: Code.NotFound,
  IDEMPOTENCY_CONFLICT: Code.AlreadyExists,
  UNIQUE_KEY_HELD: Code.AlreadyExists,
  ALREADY_TERMINAL: Code.FailedPrecondition,
  NOT_DEAD: Code.FailedPrecondition,
  NOT_TERMINAL: Code.FailedPrecondition,
  REPLAY_NOT_FOUND: Code.NotFound,
  DEPENDENCY_CYCLE: Code.InvalidArgument,
  DEPENDENCY_NOT_FOUND: Code.NotFound,
  DEPENDENCY_FAILED: Code.FailedPrecondition,
  DEPENDENCY_ELSEWHERE: Code.FailedPrecondition,
  PARENT_NOT_WAITING: Code.FailedPrecondition,
  NOT_IN_RUN: Code.FailedPrecondition,
  RUN_LIMIT: Code.ResourceExhausted,
  NOT_REFUSED: Code.FailedPrecondition,
  BACKFILL_ENDED: Code.FailedPrecondition,
  CHANGED_MEANWHILE: Code.Aborted,
  FIRST_KEY_NOT_ADMIN: Code.FailedPrecondition,
  AUDIT_KEY_MISSING: Code.FailedPrecondition,
  HISTORY_CHANGED: Code.DataLoss,
  EFFECT_COMPLETED: Code.FailedPrecondition,
  CANCEL_REQUESTED: Code.FailedPrecondition,
  UNSUPPORTED_VERSION: Code.FailedPrecondition,
  SESSION_EXPIRED: Code.Aborted,
  SUPERSEDED: Code.Aborted,
  STALE_FENCE: Code.Aborted,
  HEARTBEAT_MISSED: Code.Aborted,
  DELIVERY_UNACKNOWLEDGED: Code.Aborted,
  PRODUCER_SEQUENCE_BEHIND: Code.Aborted,
  CHECKPOINT_BEHIND: Code.Aborted,
  CURSOR_TOO_OLD: Code.OutOfRange,
  ACK_BEYOND_SENT: Code.OutOfRange,
  CREDIT_OVERFLOW: Code.InvalidArgument,
  STREAM_LIMIT: Code.ResourceExhausted,
  LIMIT_COUNT: Code.ResourceExhausted,
  IN_FLIGHT_FULL: Code.ResourceExhausted,
  PRODUCT_LIMIT: Code.ResourceExhausted,
  LANE_LIMIT: Code.ResourceExhausted,
  CHANNEL_LIMIT: Code.ResourceExhausted,
  QUOTA_EXCEEDED: Code.ResourceExhausted,
  BACKLOG_FULL: Code.ResourceExhausted,
  HUB_STOPPING: Code.Unavailable,
  LEDGER_UNAVAILABLE: Code.Unavailable,
  ITEM_POISONED: Code.InvalidArgument,
  INTERNAL: Code.Internal,
};

/** What a caller is told about anything that was thrown. What is not a Fault is a defect: logged, not shown. */
export function toFault(error: unknown, onDefect: (error: unknown) => void): Fault {
  if (error instanceof Fault) return error;
  onDefect(error);
  return new Fault("INTERNAL", "The hub failed on this call; its log says why.");
}

export function toConnectError(fault: Fault): ConnectError {
  const error = new ConnectError(fault.message, codes[fault.reason]);
  error.details.push({
    type: errorInfoType,
    value: encodeErrorInfo(fault),
    debug: { reason: fault.reason, domain: errorDomain, metadata: errorMetadata(fault) },
  });
  return error;
}

export function toGrpcError(fault: Fault): Pick<ServiceError, "code" | "details" | "metadata"> {
  const code = codes[fault.reason];
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", encodeStatus(code, fault));
  return { code: code as number, details: fault.message, metadata };
}

/** The same for one item of a batch. */
export function toRefusal(fault: Fault): Refusal {
  return { reason: fault.reason, message: fault.message, metadata: errorMetadata(fault) };
}
