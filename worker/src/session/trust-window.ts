/**
 * How long a worker may believe in its leases without hearing from a hub.
 *
 * A heartbeat renews the session when it reaches the ledger, which is after it was sent. So a window that is counted
 * from the sending of the heartbeat that was echoed ends before the ledger's, whatever the way there and back took;
 * the margin covers clocks that run at different speeds and the time that it takes to stop a handler. All times are of
 * the session's TrustClock, in milliseconds: monotonic, and with the time that the machine slept.
 */

/** A tenth of the session's time to live, at least 500 ms, but never more than half of it. */
export function trustMarginMs(sessionTtlMs: number): number {
  return Math.min(Math.max(sessionTtlMs / 10, 500), sessionTtlMs / 2);
}

/** Until when an echo lets the worker trust its leases. */
export function trustedUntil(sentAt: number, timeLeftMs: number, sessionTtlMs: number): number {
  return sentAt + timeLeftMs - trustMarginMs(sessionTtlMs);
}

/** What trusting depends on. `passed` begins at `since` and ends with the next welcome of a hub. */
export type Trust =
  /** No hub has been heard yet: there are no leases to trust in. */
  | { readonly state: "unheard" }
  | { readonly state: "trusted"; readonly until: number }
  | { readonly state: "passed"; readonly since: number };

/** Takes a proof of life in. Each gives a lower bound of the session's expiry, so the latest of them holds. */
export function extendTrust(trust: Trust, until: number): Trust {
  if (trust.state === "trusted" && trust.until >= until) return trust;
  return { state: "trusted", until };
}

/** The state at `now`. */
export function trustAt(trust: Trust, now: number): Trust {
  return trust.state === "trusted" && now >= trust.until ? { state: "passed", since: trust.until } : trust;
}
