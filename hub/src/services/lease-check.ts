// Compares what this hub's workers hold with the ledger, once every heartbeat: what another hub took away, and no
// message said, is noticed here (D4). A job that is done sooner than that is never looked up.
//
// The reads are bounded by what they cost: after each, the check rests nine times as long.
import { setTimeout as delay } from "node:timers/promises";
import type { LeaseChange, RememberedLease } from "../ledger/compare-leases.js";
import type { Ledger } from "../ledger/ledger.js";
import { Rounds } from "./rounds.js";
import type { RevokedLease } from "./session-messages.js";
import type { Sessions } from "./sessions.js";
import type { HeldLease, WorkerSession } from "./worker-session.js";

const leasesPerReadMax = 1_000;
const restFactor = 9;

export class LeaseCheck {
  readonly #ledger: Pick<Ledger, "compareLeases">;
  readonly #sessions: Sessions;
  readonly #rounds: Rounds;
  /** Leases that were held in an earlier round. */
  readonly #known = new WeakSet<HeldLease>();
  readonly #stopping = new AbortController();
  #isWhole = false;

  constructor(
    intervalMs: number,
    ledger: Pick<Ledger, "compareLeases">,
    sessions: Sessions,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#sessions = sessions;
    this.#rounds = new Rounds(() => this.#round(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  /** Messages may have been lost: every lease is compared, now. */
  compareAll(): void {
    this.#isWhole = true;
    this.#rounds.hurry();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#rounds.stop();
  }

  async #round(): Promise<void> {
    const isWhole = this.#isWhole;
    this.#isWhole = false;
    const due: { session: WorkerSession; lease: HeldLease }[] = [];
    for (const session of this.#sessions.all()) {
      if (!session.link) continue;
      for (const lease of session.leases.values()) {
        if (isWhole || this.#known.has(lease)) due.push({ session, lease });
        this.#known.add(lease);
      }
    }
    const { signal } = this.#stopping;
    for (let at = 0; at < due.length && !signal.aborted; at += leasesPerReadMax) {
      const part = due.slice(at, at + leasesPerReadMax);
      const startedAt = performance.now();
      const changes = await this.#ledger.compareLeases(part.map(({ lease }) => lease));
      const holders = new Map(part.map(({ session, lease }) => [leaseKey(lease), session]));
      for (const change of changes) this.#tell(holders.get(leaseKey(change)) as WorkerSession, change);
      const restMs = (performance.now() - startedAt) * restFactor;
      if (at + leasesPerReadMax < due.length)
        await delay(restMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #tell(session: WorkerSession, change: LeaseChange): void {
    // Reported, returned or granted anew since it was read.
    const held = session.leases.get(change.jobId);
    if (held?.fencingToken !== change.fencingToken) return;
    if (change.type === "cancelling" && session.isWarned(held)) return;
    this.#sessions.revoke(session.sessionId, revokeOf(change));
  }
}

function leaseKey({ jobId, fencingToken }: RememberedLease): string {
  return `${jobId}/${fencingToken}`;
}

function revokeOf(change: LeaseChange): RevokedLease {
  const { jobId, fencingToken } = change;
  const lease = { jobId, fencingToken, reason: "cancelled", graceMs: 0 } as const;
  switch (change.type) {
    case "cancelling":
      return { ...lease, graceMs: change.graceMs, message: change.reason };
    case "cancelled":
      return { ...lease, message: change.reason };
    case "deadline":
      return { ...lease, reason: "deadline", message: "The job's deadline passed." };
    case "taken":
      return { ...lease, message: "The job was taken back." };
  }
}
