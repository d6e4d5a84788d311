/**
 * Mutual liveness of one stream, as values: which heartbeats are under way and when the hub was last heard. A
 * heartbeat counts as answered only by an echo of its nonce, so a hub that reads but cannot answer, or answers what it
 * no longer reads, is found out just as one that is gone.
 */
export type Pulse = {
  /** Sent and not echoed, oldest first. Bounded: a stream on which nothing is echoed is given up within a few. */
  readonly unanswered: readonly Beat[];
  readonly nextNonce: number;
  /** Newest nonce of the hub; 0 before the first. */
  readonly hubNonce: bigint;
  /** When the hub last proved that it hears us. */
  readonly heardAt: number;
};

export type Beat = { readonly nonce: number; readonly sentAt: number };

/** A stream whose welcome came at `now`. */
export function newPulse(now: number): Pulse {
  return { unanswered: [], nextNonce: 1, hubNonce: 0n, heardAt: now };
}

/** A heartbeat is sent: its nonce is `pulse.nextNonce`. */
export function beat(pulse: Pulse, now: number): Pulse {
  const sent = { nonce: pulse.nextNonce, sentAt: now };
  return { ...pulse, unanswered: [...pulse.unanswered, sent], nextNonce: pulse.nextNonce + 1 };
}

/** An echo came. `answered` is the heartbeat it belongs to; undefined for a nonce that was never sent or came twice. */
export function heard(
  pulse: Pulse,
  echo: bigint,
  hubNonce: bigint,
  now: number,
): { pulse: Pulse; answered: Beat | undefined } {
  const answered = pulse.unanswered.find((sent) => BigInt(sent.nonce) === echo);
  if (answered === undefined) return { pulse: { ...pulse, hubNonce }, answered };
  const unanswered = pulse.unanswered.filter((sent) => sent.nonce > answered.nonce);
  return { pulse: { ...pulse, unanswered, hubNonce, heardAt: now }, answered };
}

/** How long a hub may stay silent: three heartbeats, or the session's time to live if that is less. */
export function silenceMaxMs(heartbeatIntervalMs: number, sessionTtlMs: number): number {
  return Math.min(3 * heartbeatIntervalMs, sessionTtlMs);
}
