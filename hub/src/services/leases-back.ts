import { Fault } from "../domain/fault.js";
import { JobEventType } from "../domain/job-state.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { ReturnItem } from "../ledger/return-leases.js";
import type { JobFeed } from "./job-feed.js";

/** A lease to take back from a session. */
export interface LeaseToReturn {
  readonly jobId: string;
  readonly sessionId: string;
  /** null: whatever lease the session has on the job. */
  readonly fencingToken: bigint | null;
  /** Only a lease that went into this delivery. */
  readonly delivery?: number;
  readonly isStarted: boolean;
  /** Only as long as this hub holds the session. */
  readonly mustHoldSession?: boolean;
}

/**
 * Takes leases back in the ledger and puts their jobs into their lanes again. Answers how many were current.
 *
 * @throws Fault when the ledger refused one of them; the others are back all the same
 */
export type ReturnLeases = (leases: readonly LeaseToReturn[], why: "released" | "expired") => Promise<number>;

export function leaseReturner(
  ledger: Pick<Ledger, "returnLeases">,
  lanes: Lanes,
  feed: JobFeed,
  onEnded: () => void,
): ReturnLeases {
  return async (leases, why) => {
    const event = why === "released" ? JobEventType.Released : JobEventType.Expired;
    const results = await ledger.returnLeases(leases.map((lease): ReturnItem => ({ ...lease, event })));
    let current = 0;
    for (const [at, result] of results.entries()) {
      if (result instanceof Fault || result.type === "stale") continue;
      current += 1;
      if (result.type === "ready") lanes.offer([result.ref]);
      feed.changed((leases[at] as LeaseToReturn).jobId);
    }
    if (current > 0) onEnded();
    const refused = results.find((result) => result instanceof Fault);
    if (refused) throw refused;
    return current;
  };
}
