import { Fault } from "../domain/fault.js";
import type { Ledger } from "../ledger/ledger.js";
import type { ExpiredSession } from "../ledger/read-fleet.js";
import type { ReturnLeases } from "./leases-back.js";

const lookIntervalMs = 1_000;
const sessionsPerLookMax = 500;
const deliveriesPerLookMax = 100;

/** A session whose leases did not come back is left alone for so long: trying may take a minute, in which others wait. */
const restMs = 60_000;

/** Faults that may be those of one lease. */
const ofOneLease: ReadonlySet<string> = new Set(["ITEM_POISONED", "LEDGER_UNAVAILABLE"]);

/**
 * Takes the leases of expired sessions back, whichever hub held them (D6). A session is expired by the ledger's
 * clock; its leases are found by its deliveries, some at a time, until none is left.
 */
export class Reaper {
  readonly #ledger: Pick<Ledger, "expireSessions" | "readExpiredSessions" | "dropDeliveries">;
  readonly #returnLeases: ReturnLeases;
  readonly #onExpired: (sessionIds: readonly string[]) => void;
  readonly #onError: (error: unknown) => void;
  #next: NodeJS.Timeout | undefined;
  /** Until when sessions are left alone. */
  readonly #resting = new Map<string, number>();
  #isStopped = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(
    ledger: Pick<Ledger, "expireSessions" | "readExpiredSessions" | "dropDeliveries">,
    returnLeases: ReturnLeases,
    onExpired: (sessionIds: readonly string[]) => void,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#returnLeases = returnLeases;
    this.#onExpired = onExpired;
    this.#onError = onError;
  }

  start(): void {
    this.#schedule(0);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#next);
    await this.#looking;
  }

  #schedule(afterMs: number): void {
    if (this.#isStopped) return;
    this.#next = setTimeout(() => {
      this.#looking = this.#look()
        .catch((error: unknown) => {
          this.#onError(error);
          return false;
        })
        .then((hasMore) => this.#schedule(hasMore ? 0 : lookIntervalMs));
    }, afterMs);
  }

  /** Answers whether there is more to take back at once. */
  async #look(): Promise<boolean> {
    const expired = await this.#ledger.expireSessions(sessionsPerLookMax);
    if (expired.length > 0) this.#onExpired(expired);
    const sessions = await this.#ledger.readExpiredSessions(sessionsPerLookMax, deliveriesPerLookMax);
    const listed = new Set(sessions.map(({ sessionId }) => sessionId));
    for (const sessionId of this.#resting.keys()) if (!listed.has(sessionId)) this.#resting.delete(sessionId);
    let hasMore = false;
    for (const session of sessions) {
      if (this.#isStopped) break;
      if (performance.now() < (this.#resting.get(session.sessionId) ?? 0)) continue;
      const isTakenBack = await this.#takeBack(session);
      hasMore ||= isTakenBack && session.deliveries.length === deliveriesPerLookMax;
    }
    return hasMore;
  }

  /** A delivery is forgotten when each of its leases is back: nothing else leads to them. */
  async #takeBack({ sessionId, deliveries }: ExpiredSession): Promise<boolean> {
    const leases = deliveries.flatMap(({ delivery, jobIds, isDelivered }) =>
      jobIds.map((jobId) => ({ jobId, sessionId, fencingToken: null, delivery, isStarted: isDelivered })),
    );
    try {
      await this.#returnLeases(leases, "expired");
    } catch (error) {
      // One lease that the ledger refuses, or never gets done, does not keep those of other sessions.
      if (!(error instanceof Fault) || !ofOneLease.has(error.reason)) throw error;
      this.#onError(error);
      this.#resting.set(sessionId, performance.now() + restMs);
      return false;
    }
    this.#resting.delete(sessionId);
    await this.#ledger.dropDeliveries({
      sessionId,
      deliveries: deliveries.map(({ delivery }) => delivery),
      isEmpty: deliveries.length === 0,
    });
    return true;
  }
}
