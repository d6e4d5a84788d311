import { HoldfastError } from "../grpc/holdfast-error.js";
import { JobFailure, LeaseLostError, RevokedError, TrustWindowError } from "../job-errors.js";
import type { LossCause } from "../port.js";

/** The reason that a handler's signal is aborted with when its lease is gone. */
export function lossReason(cause: LossCause): Error {
  switch (cause.kind) {
    case "trust-window":
      return new TrustWindowError("no hub was heard for so long that the lease may be gone");
    case "taken":
      return new LeaseLostError(cause.message);
    case "revoked":
      return new RevokedError(cause.cause, cause.message);
  }
}

/** A result that no hub would have fails its job for good: running it again would end the same way. */
export function resultTooLarge(length: number, lengthMax: number): JobFailure {
  const message = `the result of ${length} bytes is larger than the hub takes: ${lengthMax}`;
  return new JobFailure("RESULT_REFUSED", message, { permanent: true });
}

/** @param refusal "REASON: message", as the session passes it on */
export function checkpointRefused(refusal: string): HoldfastError {
  return new HoldfastError({
    reason: refusal.split(":", 1)[0] || "REFUSED",
    message: `the checkpoint was refused: ${refusal}`,
    metadata: {},
    grpcCode: 3,
    retryAfterMs: undefined,
  });
}
