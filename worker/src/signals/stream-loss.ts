import { status } from "@grpc/grpc-js";
import { HoldfastError } from "../grpc/holdfast-error.js";

/** Reasons after which the same stream may be opened again and go on. */
const passing: ReadonlySet<string> = new Set([
  "LEDGER_UNAVAILABLE",
  "HUB_STOPPING",
  "STREAM_LIMIT",
  "QUOTA_EXCEEDED",
  "BACKLOG_FULL",
]);

/**
 * The stream was lost or must wait, rather than refused for good. Some losses show as an internal transport error, and a
 * hub that is stopped with streams open as a cancel that nobody here asked for.
 */
export function isPassing({ grpcCode, reason }: HoldfastError): boolean {
  if (grpcCode === status.UNAVAILABLE || grpcCode === status.CANCELLED || passing.has(reason)) return true;
  return grpcCode === status.INTERNAL && reason === "INTERNAL";
}

/** A stream that the hub ended in good order, as it does when it stops. */
export function ended(): HoldfastError {
  return new HoldfastError({
    reason: "UNAVAILABLE",
    message: "the hub ended the stream",
    metadata: {},
    grpcCode: status.UNAVAILABLE,
    retryAfterMs: undefined,
  });
}
