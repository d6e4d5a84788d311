/** Fails the attempt on purpose, with a code for grouping and a say in whether it is tried again. */
export class JobFailure extends Error {
  override readonly name = "JobFailure";
  /** Such as "HTTP_503": characters of [A-Z0-9_], at most 64; others are replaced. */
  readonly code: string;
  /** True: trying again cannot help, the job is dead-lettered at once. */
  readonly permanent: boolean;
  /** Not before this delay, for example from an HTTP Retry-After header. 0 to 7 days; what is beyond is cut. */
  readonly retryAfterMs: number;

  constructor(
    code: string,
    message: string,
    options: { permanent?: boolean; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.permanent = options.permanent ?? false;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}

/** The lease is gone: another worker may run the job. Whatever the handler still returns is not reported. */
export class LeaseLostError extends Error {
  override readonly name: string = "LeaseLostError";
}

/** No hub was heard for so long that the lease may be gone. */
export class TrustWindowError extends LeaseLostError {
  override readonly name = "TrustWindowError";
}

/** The effect is not this worker's any more: another may be doing it. */
export class EffectLostError extends Error {
  override readonly name = "EffectLostError";
}

/** Why a hub takes an attempt away. */
export type RevokeCause = "cancelled" | "preempted" | "quarantined" | "deadline";

/**
 * The hub takes the attempt away. With a grace period the handler may still save a checkpoint, finish and return;
 * throwing ends the attempt as the reason demands.
 */
export class RevokedError extends Error {
  override readonly name = "RevokedError";
  readonly reason: RevokeCause;

  constructor(reason: RevokeCause, message: string) {
    super(message === "" ? `the job was revoked: ${reason}` : message);
    this.reason = reason;
  }
}

/** The worker drains and the time for handlers to finish is over: the job goes back to the hub. */
export class DrainTimeoutError extends Error {
  override readonly name = "DrainTimeoutError";
}

/** The job waits for a signal and has given its lease back; its handler is started anew, elsewhere perhaps. */
export class JobSuspended extends LeaseLostError {
  override readonly name = "JobSuspended";
}
