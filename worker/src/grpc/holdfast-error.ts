/**
 * A call that the hub refused, or that did not get through. Branch on `reason`: it is stable, the message is for
 * people. Without an answer from a hub, `reason` is the name of the gRPC status, such as "UNAVAILABLE".
 */
export class HoldfastError extends Error {
  override readonly name = "HoldfastError";
  /** Such as "JOB_NOT_FOUND". */
  readonly reason: string;
  /** The field, the limit and the like. */
  readonly metadata: Readonly<Record<string, string>>;
  /** gRPC status code. */
  readonly grpcCode: number;
  /** Not before this delay, when the hub said so. */
  readonly retryAfterMs?: number;

  constructor(failure: CallFailure, options?: ErrorOptions) {
    super(failure.message, options);
    this.reason = failure.reason;
    this.metadata = failure.metadata;
    this.grpcCode = failure.grpcCode;
    if (failure.retryAfterMs !== undefined) this.retryAfterMs = failure.retryAfterMs;
  }
}

/** What a HoldfastError says, as plain values that may cross a thread. */
export type CallFailure = {
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly grpcCode: number;
  readonly retryAfterMs: number | undefined;
};
