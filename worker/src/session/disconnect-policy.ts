/** What the rules below look at. Times are of the session's TrustClock, in milliseconds. */
export type DoubtedLease = {
  readonly finishesDisconnected: boolean;
  /** Undefined or 0: no bound. */
  readonly disconnectLimitMs: number | undefined;
  /** Since when nobody can vouch for the lease; undefined: it is not in doubt. */
  readonly doubtedSince: number | undefined;
};

/** Who has to stop when nobody can vouch for leases any more, and who may finish what it began. */
export function splitByPolicy<Lease extends DoubtedLease>(
  leases: Iterable<Lease>,
): { stopping: Lease[]; finishing: Lease[] } {
  const stopping: Lease[] = [];
  const finishing: Lease[] = [];
  for (const lease of leases) (lease.finishesDisconnected ? finishing : stopping).push(lease);
  return { stopping, finishing };
}

/** Whose time to finish in doubt is over at `now`, and when the next one's is. */
export function overLimit<Lease extends DoubtedLease>(
  leases: Iterable<Lease>,
  now: number,
): { over: Lease[]; next: number | undefined } {
  const over: Lease[] = [];
  let next: number | undefined;
  for (const lease of leases) {
    if (lease.doubtedSince === undefined || !lease.disconnectLimitMs) continue;
    const limit = lease.doubtedSince + lease.disconnectLimitMs;
    if (limit <= now) over.push(lease);
    else if (next === undefined || limit < next) next = limit;
  }
  return { over, next };
}
