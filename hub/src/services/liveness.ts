// Mutual, in-band liveness of a lease stream, as pure rules over its link.
//
// The hub puts a nonce into each heartbeat; a worker that reads its stream echoes it with the next one. A worker
// that sends heartbeats but does not read cannot echo; one that reads but does not acknowledge deliveries is
// found when it echoes a nonce that was sent after them. Either way its stream is torn down and its undelivered
// leases go elsewhere.
import type { StreamLink } from "./worker-session.js";

export type Liveness = "alive" | "deaf" | "unacknowledged";

/** A heartbeat came, echoing the newest nonce that the worker has read (0: none yet). */
export function hearHeartbeat(
  link: StreamLink,
  echo: bigint,
  deliveredThrough: number,
  nowMs: number,
  echoLimitMs: number,
): Liveness {
  link.heardAtMs = nowMs;
  if (link.openNonces.some((open) => open.nonce <= echo)) {
    // What was due at the echo before this one has had a whole heartbeat's time.
    if (deliveredThrough < link.dueDelivery) return "unacknowledged";
    const echoed = link.openNonces.filter((open) => open.nonce <= echo).at(-1);
    link.dueDelivery = echoed?.lastDelivery ?? link.dueDelivery;
    link.openNonces = link.openNonces.filter((open) => open.nonce > echo);
  }
  const oldest = link.openNonces[0];
  return oldest && nowMs - oldest.sentAtMs > echoLimitMs ? "deaf" : "alive";
}

/** The nonce of the heartbeat that is sent now. */
export function nextNonce(link: StreamLink, nowMs: number): bigint {
  const nonce = link.nextNonce;
  link.nextNonce += 1n;
  link.openNonces.push({ nonce, sentAtMs: nowMs, lastDelivery: link.lastSent });
  return nonce;
}
