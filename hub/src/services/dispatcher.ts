// Matches waiting refs with sessions that have credit, best score first, and claims them in the ledger.
//
// Workers with the same profile compete for the same lanes, so sessions wait in groups by profile: the cost of a
// round does not grow with the number of idle sessions. Within a group sessions take turns, a batch each.
//
// Invariants
//  1. A ref that was taken from a lane is settled or given back, whatever happens to its claim.
//  2. Credit is spent when a claim is made and restored for what was not granted.
//  3. At most `claimsInFlightMax` refs are on their way to the ledger: the rest wait in their lanes, in order.
import { setTimeout as delay } from "node:timers/promises";
import { Fault } from "../domain/fault.js";
import { canServe, type Lane, type Ref, type WorkerProfile } from "../domain/lane.js";
import { defaultScoreWeights, timelessScore } from "../domain/score.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { LaneBook } from "./lane-book.js";
import type { LaneLease } from "./session-messages.js";
import type { WorkerSession } from "./worker-session.js";

export interface DispatcherLimits {
  /** Leases per message to a worker. */
  readonly leasesPerMessageMax: number;
  readonly claimsInFlightMax: number;
}

export interface DispatcherHooks {
  /** Leases were granted for the attachment of that epoch: they must be held and sent, or returned. */
  readonly granted: (
    session: WorkerSession,
    epoch: number,
    delivery: number,
    leases: readonly LaneLease[],
  ) => void;
  /** The ledger stayed away: whether the claim was granted is unknown until the session is resumed. */
  readonly claimLost: (session: WorkerSession, epoch: number) => void;
  /** A lane that hungry sessions could serve has an empty window. */
  readonly starved: (laneId: number) => void;
}

interface Group {
  readonly profile: WorkerProfile;
  readonly lanes: Lane[];
  readonly hungry: Set<WorkerSession>;
}

const retryDelayMs = 200;
const lookIntervalMs = 1_000;

export class Dispatcher {
  readonly #ledger: Pick<Ledger, "claim">;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #limits: DispatcherLimits;
  readonly #hooks: DispatcherHooks;
  readonly #groups = new Map<string, Group>();
  // Whoever waits looks again every second, even when nothing tells of new work.
  readonly #looking = setInterval(() => this.wake(), lookIntervalMs);
  #inFlight = 0;
  #isScheduled = false;
  #isStopped = false;

  constructor(
    ledger: Pick<Ledger, "claim">,
    lanes: Lanes,
    book: LaneBook,
    limits: DispatcherLimits,
    hooks: DispatcherHooks,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#limits = limits;
    this.#hooks = hooks;
    book.onNewLane((lane) => this.#addLane(lane));
  }

  /** A session's credit, link or state changed. */
  sessionChanged(session: WorkerSession): void {
    const group = this.#groupOf(session);
    if (session.isHungry) {
      group.hungry.add(session);
      this.wake();
    } else {
      group.hungry.delete(session);
      if (session.state.type === "ended" && group.hungry.size === 0) this.#groups.delete(session.profileText);
    }
  }

  /** Refs came, or claims returned: look again, once per turn of the event loop. */
  wake(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      if (!this.#isStopped) this.#round();
    });
  }

  /** Whether some session has credit for this lane. */
  isWanted(laneId: number): boolean {
    for (const group of this.#groups.values())
      if (group.hungry.size > 0 && group.lanes.some((lane) => lane.laneId === laneId)) return true;
    return false;
  }

  /** No new claims; those in flight still come to their sessions. */
  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#looking);
  }

  #groupOf(session: WorkerSession): Group {
    let group = this.#groups.get(session.profileText);
    if (!group) {
      const { profile } = session;
      group = {
        profile,
        lanes: [...this.#book.all()].filter((lane) => canServe(profile, lane)),
        hungry: new Set(),
      };
      this.#groups.set(session.profileText, group);
    }
    return group;
  }

  #addLane(lane: Lane): void {
    for (const group of this.#groups.values()) if (canServe(group.profile, lane)) group.lanes.push(lane);
  }

  #round(): void {
    let isMoving = true;
    while (isMoving && this.#inFlight < this.#limits.claimsInFlightMax) {
      isMoving = false;
      for (const group of this.#groups.values()) {
        const session = firstOf(group.hungry);
        if (!session) continue;
        group.hungry.delete(session);
        if (!session.isHungry) {
          isMoving = true;
          continue;
        }
        const refs = this.#takeBest(group, session);
        // Back to the end of the queue: sessions of a group take turns.
        if (refs.length > 0) this.#claim(session, refs);
        if (session.isHungry) group.hungry.add(session);
        if (refs.length > 0) isMoving = true;
      }
    }
    for (const group of this.#groups.values()) if (group.hungry.size > 0) this.#reportStarved(group);
  }

  #reportStarved(group: Group): void {
    for (const lane of group.lanes)
      if (this.#lanes.head(lane.laneId) === undefined) this.#hooks.starved(lane.laneId);
  }

  /** Takes up to a message of refs, best score first; within a lane, first come is best. */
  #takeBest(group: Group, session: WorkerSession): Ref[] {
    const taken: Ref[] = [];
    let jobs = Math.min(session.credit.jobs, this.#limits.leasesPerMessageMax);
    let bytes = session.credit.bytes;
    // Lanes whose head is larger than the credit that is left wait for more; they do not hold up the others.
    let lanes: readonly Lane[] = group.lanes;
    while (jobs > 0) {
      const { best, runnerUp } = this.#bestLanes(lanes);
      if (!best) break;
      // With one lane waiting, all may come from it; otherwise it leads only as long as its head scores best.
      const refs = this.#lanes.take(best.laneId, runnerUp === undefined ? jobs : 1, bytes);
      if (refs.length === 0) {
        lanes = lanes.filter((lane) => lane !== best);
        continue;
      }
      taken.push(...refs);
      jobs -= refs.length;
      for (const ref of refs) bytes -= ref.bytes;
    }
    return taken;
  }

  #bestLanes(lanes: readonly Lane[]): { best: Lane | undefined; runnerUp: number | undefined } {
    let best: Lane | undefined;
    let bestScore = Number.NEGATIVE_INFINITY;
    let runnerUp: number | undefined;
    for (const lane of lanes) {
      const head = this.#lanes.head(lane.laneId);
      if (!head) continue;
      const score = timelessScore(defaultScoreWeights, lane, head);
      if (best === undefined || score > bestScore) {
        runnerUp = best === undefined ? undefined : bestScore;
        best = lane;
        bestScore = score;
      } else if (runnerUp === undefined || score > runnerUp) {
        runnerUp = score;
      }
    }
    return { best, runnerUp };
  }

  #claim(session: WorkerSession, refs: readonly Ref[]): void {
    session.lastDelivery += 1;
    const delivery = session.lastDelivery;
    const { epoch } = session;
    session.claimsInFlight += 1;
    session.credit = spend(session, refs, -1);
    // A call is answered with one message: what it asked for beyond that lapses.
    if (session.link?.type === "unary") session.credit = { ...session.credit, jobs: 0 };
    this.#inFlight += refs.length;
    const items = refs.map((ref) => ({ jobId: ref.jobId, sessionId: session.sessionId, delivery }));
    this.#ledger
      .claim(items)
      .then(
        (grants) => this.#claimed(session, epoch, delivery, refs, grants),
        () => this.#claimFailed(session, epoch, refs),
      )
      .finally(() => {
        session.claimsInFlight -= 1;
        this.#inFlight -= refs.length;
        this.wake();
      });
  }

  #claimed(
    session: WorkerSession,
    epoch: number,
    delivery: number,
    refs: readonly Ref[],
    grants: Awaited<ReturnType<Ledger["claim"]>>,
  ): void {
    this.#lanes.settle(refs);
    const leases: LaneLease[] = [];
    const gone: Ref[] = [];
    for (const [at, ref] of refs.entries()) {
      const lease = grants[at];
      const lane = lease && !(lease instanceof Fault) ? this.#book.get(lease.laneId) : undefined;
      if (lane && lease && !(lease instanceof Fault)) leases.push({ lease, lane });
      else gone.push(ref);
    }
    if (gone.length > 0 && session.epoch === epoch) session.credit = spend(session, gone, 1);
    if (leases.length > 0) this.#hooks.granted(session, epoch, delivery, leases);
    this.sessionChanged(session);
  }

  /** Giving refs back that were claimed after all is harmless (D10). */
  #claimFailed(session: WorkerSession, epoch: number, refs: readonly Ref[]): void {
    this.#hooks.claimLost(session, epoch);
    void delay(retryDelayMs).then(() => this.#lanes.giveBack(refs));
  }
}

function spend(session: WorkerSession, refs: readonly Ref[], sign: 1 | -1) {
  const bytes = refs.reduce((sum, ref) => sum + ref.bytes, 0);
  return { jobs: session.credit.jobs + sign * refs.length, bytes: session.credit.bytes + sign * bytes };
}

function firstOf<Member>(set: ReadonlySet<Member>): Member | undefined {
  for (const member of set) return member;
  return undefined;
}
