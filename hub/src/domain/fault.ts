/** Reasons of refusals, stable for callers. The rpc room maps each to a status. */
export type FaultReason =
  | "INVALID_FIELD"
  | "PAYLOAD_TOO_LARGE"
  | "UNAUTHENTICATED"
  | "SCOPE_MISSING"
  | "KIND_NOT_ALLOWED"
  | "AUDIT_FIELDS_MISSING"
  | "JOB_NOT_FOUND"
  | "KEY_NOT_FOUND"
  | "EFFECT_NOT_FOUND"
  | "CHANNEL_NOT_FOUND"
  | "CURSOR_NOT_FOUND"
  | "INBOX_ENTRY_NOT_FOUND"
  | "DEAD_LETTER_NOT_FOUND"
  | "LIMIT_NOT_FOUND"
  | "SCHEDULE_NOT_FOUND"
  | "BACKFILL_NOT_FOUND"
  | "SOURCE_NOT_FOUND"
  | "SEAL_NOT_FOUND"
  | "IDEMPOTENCY_CONFLICT"
  | "UNIQUE_KEY_HELD"
  | "ALREADY_TERMINAL"
  | "NOT_DEAD"
  | "NOT_TERMINAL"
  | "REPLAY_NOT_FOUND"
  | "DEPENDENCY_CYCLE"
  | "DEPENDENCY_NOT_FOUND"
  | "DEPENDENCY_FAILED"
  | "DEPENDENCY_ELSEWHERE"
  | "PARENT_NOT_WAITING"
  | "NOT_IN_RUN"
  | "RUN_LIMIT"
  | "NOT_REFUSED"
  | "BACKFILL_ENDED"
  | "CHANGED_MEANWHILE"
  | "FIRST_KEY_NOT_ADMIN"
  | "AUDIT_KEY_MISSING"
  | "HISTORY_CHANGED"
  | "EFFECT_COMPLETED"
  | "CANCEL_REQUESTED"
  | "UNSUPPORTED_VERSION"
  | "SESSION_EXPIRED"
  | "SUPERSEDED"
  | "STALE_FENCE"
  | "HEARTBEAT_MISSED"
  | "DELIVERY_UNACKNOWLEDGED"
  | "PRODUCER_SEQUENCE_BEHIND"
  | "CHECKPOINT_BEHIND"
  | "ACK_BEYOND_SENT"
  | "CURSOR_TOO_OLD"
  | "CREDIT_OVERFLOW"
  | "STREAM_LIMIT"
  | "LIMIT_COUNT"
  | "IN_FLIGHT_FULL"
  | "PRODUCT_LIMIT"
  | "LANE_LIMIT"
  | "CHANNEL_LIMIT"
  | "QUOTA_EXCEEDED"
  | "BACKLOG_FULL"
  | "HUB_STOPPING"
  | "LEDGER_UNAVAILABLE"
  | "ITEM_POISONED"
  | "INTERNAL";

/** A refusal that a caller is told about. Expected outcomes of rules are unions; this ends a call or an item. */
export class Fault extends Error {
  readonly reason: FaultReason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;

  constructor(
    reason: FaultReason,
    message: string,
    metadata: Readonly<Record<string, string>> = {},
    options: { retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Fault";
    this.reason = reason;
    this.metadata = metadata;
    this.retryAfterMs = options.retryAfterMs;
  }
}
