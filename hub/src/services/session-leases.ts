// Leases between the ledger and a session: what was granted is held and sent down, what a worker never received is
// taken back.
import { setTimeout as delay } from "node:timers/promises";
import { Fault } from "../domain/fault.js";
import type { LeaseToReturn, ReturnLeases } from "./leases-back.js";
import type { LaneLease } from "./session-messages.js";
import type { HeldLease, WorkerSession } from "./worker-session.js";

export class SessionLeases {
  readonly #returnLeases: ReturnLeases;
  readonly #onReturnFailed: (error: unknown) => void;
  /** Undelivered leases that are on their way back. */
  readonly #returning = new WeakSet<HeldLease>();

  constructor(returnLeases: ReturnLeases, onReturnFailed: (error: unknown) => void) {
    this.#returnLeases = returnLeases;
    this.#onReturnFailed = onReturnFailed;
  }

  /** Leases that were granted to an attachment: held and sent, or returned when it is gone. */
  granted(session: WorkerSession, epoch: number, delivery: number, leases: readonly LaneLease[]): void {
    const { link, sessionId } = session;
    const grantedAtMs = performance.now();
    for (const { lease } of leases)
      session.hold({
        jobId: lease.jobId,
        fencingToken: lease.fencingToken,
        attempt: lease.attempt,
        attemptsMax: lease.attemptsMax,
        delivery,
        options: lease.options,
        laneId: lease.laneId,
        grantedAtMs,
        ...(lease.isMetered && { isMetered: true }),
      });
    if (session.epoch !== epoch || !link || session.state.type === "draining") {
      this.giveBack(
        session,
        leases.map(({ lease: { jobId, fencingToken } }) => ({
          jobId,
          sessionId,
          fencingToken,
          isStarted: false,
        })),
        "released",
      );
      return;
    }
    if (link.type === "stream") {
      link.lastSent = delivery;
      link.outbox.send({ type: "leases", delivery, leases });
    } else {
      link.waiting.push({ delivery, leases });
      link.onLeases?.();
    }
  }

  /** Not when another hub holds the session by now: there its worker has said what it received. */
  returnUndelivered(session: WorkerSession): void {
    const { sessionId } = session;
    const undelivered = session.undelivered().filter((lease) => !this.#returning.has(lease));
    for (const lease of undelivered) this.#returning.add(lease);
    this.giveBack(
      session,
      undelivered.map(({ jobId, fencingToken }) => ({
        jobId,
        sessionId,
        fencingToken,
        isStarted: false,
        mustHoldSession: true,
      })),
      "released",
    );
  }

  /**
   * Leases that the session holds until the ledger has taken them back. A ledger that is away or overrun is asked again:
   * as long as the session lives, nobody else looks for them.
   */
  giveBack(session: WorkerSession, leases: readonly LeaseToReturn[], why: "released" | "expired"): void {
    if (leases.length > 0) void this.#giveBack(session, leases, why);
  }

  async #giveBack(
    session: WorkerSession,
    leases: readonly LeaseToReturn[],
    why: "released" | "expired",
  ): Promise<void> {
    for (;;) {
      try {
        await this.#returnLeases(leases, why);
        break;
      } catch (error) {
        this.#onReturnFailed(error);
        const afterMs = error instanceof Fault ? error.retryAfterMs : undefined;
        if (afterMs === undefined) return;
        await delay(afterMs, undefined, { ref: false });
      }
    }
    for (const { jobId, fencingToken } of leases)
      if (fencingToken !== null) session.letGo(jobId, fencingToken);
  }
}
