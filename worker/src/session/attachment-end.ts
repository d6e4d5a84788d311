import type { CallFailure } from "../grpc/holdfast-error.js";

/** How an attachment to a hub ended. `liveMs` is how long it was live; 0 when no welcome came. */
export type AttachmentEnd =
  /** The worker drained, and the hub closed the stream after it. */
  | { readonly outcome: "served"; readonly liveMs: number }
  /** The hub is going away and asked for this: attach elsewhere, at once. */
  | { readonly outcome: "drained"; readonly liveMs: number }
  /** Lost or refused for now: attach again, after a while. */
  | {
      readonly outcome: "retryable";
      readonly liveMs: number;
      readonly because: string;
      /** The session cannot be resumed, nor any lease kept: the next hello must not name it. */
      readonly isSessionOver: boolean;
      /** Not before this delay, when the hub said so. */
      readonly retryAfterMs: number;
    }
  /** Trying again cannot help: somebody has to change the worker's options, key or version. */
  | { readonly outcome: "fatal"; readonly liveMs: number; readonly failure: CallFailure };

/** Reasons that no retry cures. Whatever is not listed is retried: a worker does not exit over a lost connection. */
const fatalReasons: ReadonlySet<string> = new Set([
  "UNAUTHENTICATED",
  "SCOPE_MISSING",
  "KIND_NOT_ALLOWED",
  "UNSUPPORTED_VERSION",
  "INVALID_FIELD",
]);

/** Reasons that resuming the session would only bring about again: it is gone, or deliveries of it are in dispute. */
const sessionOverReasons: ReadonlySet<string> = new Set(["SESSION_EXPIRED", "ACK_BEYOND_SENT"]);

/** What the failure of a lease stream means for the worker. */
export function endOfFailure(failure: CallFailure, liveMs: number): AttachmentEnd {
  if (fatalReasons.has(failure.reason)) return { outcome: "fatal", liveMs, failure };
  return {
    outcome: "retryable",
    liveMs,
    because: `${failure.reason}: ${failure.message}`,
    isSessionOver: sessionOverReasons.has(failure.reason),
    retryAfterMs: failure.retryAfterMs ?? 0,
  };
}

/** The worker itself gave the stream up. */
export function endOfSilence(because: string, liveMs: number): AttachmentEnd {
  return { outcome: "retryable", liveMs, because, isSessionOver: false, retryAfterMs: 0 };
}
