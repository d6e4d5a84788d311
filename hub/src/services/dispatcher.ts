// Matches waiting refs with sessions that have credit, in the order of service (lane-choice.ts), and claims them in the
// ledger.
//
// Workers with the same profile compete for the same lanes, so sessions wait in groups by profile: the cost of a
// round does not grow with the number of idle sessions. Within a group sessions take turns, a batch each.
// A group outlives its sessions for a while: workers that come for one job each find each other's turns.
//
// New jobs of an empty lane may be leased in the very commit that submits them: for those it sets credit aside.
//
// Invariants
//  1. A ref that was taken from a lane is settled or given back, whatever happens to its claim.
//  2. Credit is spent when a claim or reservation is made and restored for what was not granted, unless the call that it
//     came with has ended.
//  3. At most `claimsInFlightMax` refs are on their way to the ledger: the rest wait in their lanes, in order.
import { setTimeout as delay } from "node:timers/promises";
import type { Credit } from "../domain/credit.js";
import { Fault } from "../domain/fault.js";
import { canServe, type Lane, type Ref, type WorkerProfile } from "../domain/lane.js";
import type { GrantedLease } from "../domain/lease.js";
import { timelessScore } from "../domain/score.js";
import { defaultScoreWeights, mergeWeights, type ScoreWeights } from "../domain/score-weights.js";
import type { Lanes } from "../lanes/lanes.js";
import type { StoppedJob } from "../ledger/claim-jobs.js";
import type { Ledger } from "../ledger/ledger.js";
import type { LaneBook } from "./lane-book.js";
import type { ChoiceParts } from "./lane-choice.js";
import type { LaneGates } from "./lane-gates.js";
import type { ProductBook } from "./product-book.js";
import type { LaneLease } from "./session-messages.js";
import { WorkerGroup } from "./worker-group.js";
import type { UnaryLink, WorkerSession } from "./worker-session.js";

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
  /** A meter stopped a job that the session would have got. */
  readonly stopped: (session: WorkerSession, ref: Ref, stop: StoppedJob) => void;
  /** A lane that hungry sessions could serve has an empty window. */
  readonly starved: (laneId: number) => void;
}

/** Credit of one session, set aside for jobs that are being submitted. To be granted or lost, once. */
export interface Reservation {
  readonly session: WorkerSession;
  readonly epoch: number;
  /** The call that the credit came with; null: it came over a stream. */
  readonly call: UnaryLink["onLeases"];
  /** Number of the leases message that the jobs will go into. */
  readonly delivery: number;
  readonly jobs: readonly Passed[];
  /** Epoch of the gates that let the jobs pass. */
  readonly gateEpoch: number;
}

/** What credit is spent on. */
interface Sized {
  readonly bytes: number;
}

/** With the lane whose gates it passed. */
interface Passed extends Sized {
  readonly laneId: number;
}

const retryDelayMs = 200;
const lookIntervalMs = 1_000;

export class Dispatcher {
  readonly #ledger: Pick<Ledger, "claim">;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #gates: LaneGates;
  readonly #products: Pick<ProductBook, "weightsOf">;
  readonly #limits: DispatcherLimits;
  readonly #hooks: DispatcherHooks;
  readonly #groups = new Map<string, WorkerGroup>();
  // Whoever waits looks again every second, even when nothing tells of new work.
  readonly #looking = setInterval(() => this.#lookAgain(), lookIntervalMs);
  #inFlight = 0;
  #isScheduled = false;
  #isStopped = false;

  constructor(
    ledger: Pick<Ledger, "claim">,
    lanes: Lanes,
    book: LaneBook,
    gates: LaneGates,
    products: Pick<ProductBook, "weightsOf">,
    limits: DispatcherLimits,
    hooks: DispatcherHooks,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#gates = gates;
    this.#products = products;
    this.#limits = limits;
    this.#hooks = hooks;
    book.onNewLane((lane) => {
      for (const group of this.#groups.values()) group.add(lane);
    });
  }

  /** A session's credit, link or state changed. */
  sessionChanged(session: WorkerSession): void {
    const group = this.#groupOf(session);
    if (session.isHungry) {
      group.addHungry(session);
      this.wake();
    } else {
      group.hungry.delete(session);
    }
  }

  /** Refs came into a lane, or were put back. */
  laneChanged(laneId: number): void {
    for (const group of this.#groups.values()) group.noticed(laneId);
    this.wake();
  }

  /** What lanes are compared by has changed. */
  orderChanged(): void {
    for (const group of this.#groups.values()) group.orderChanged();
    this.wake();
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
    for (const group of this.#groups.values()) if (group.hungry.size > 0 && group.has(laneId)) return true;
    return false;
  }

  /**
   * Sets credit aside for as many of these new jobs, from the first on, as a session that waits can take; null when
   * none waits, or other work of the lane does: that must not be overtaken.
   */
  reserve(lane: Lane, jobs: readonly Sized[]): Reservation | null {
    if (this.#isStopped || this.#inFlight >= this.#limits.claimsInFlightMax) return null;
    if (!this.#lanes.isEmpty(lane.laneId)) return null;
    // What meters stand before is judged in a claim.
    const startsMax = this.#gates.metersOf(lane).length > 0 ? 0 : this.#gates.startsMax(lane);
    for (const group of this.#groups.values()) {
      const session = canServe(group.profile, lane) ? firstOf(group.hungry) : undefined;
      if (!session?.isHungry) continue;
      const jobsMax = Math.min(this.#limits.leasesPerMessageMax, startsMax);
      const fitting = countFitting(jobs, session.credit, jobsMax);
      if (fitting === 0) continue;
      group.hungry.delete(session);
      const { laneId } = lane;
      const passed = jobs.slice(0, fitting).map(({ bytes }) => ({ bytes, laneId }));
      this.#gates.take(laneId, fitting);
      const reservation = this.#setAside(session, passed);
      // Back to the end of the queue: sessions of a group take turns.
      if (session.isHungry) group.hungry.add(session);
      return reservation;
    }
    return null;
  }

  /** Hands over what was granted of a reservation; credit for what is gone goes back. */
  grant(reservation: Reservation, leases: readonly LaneLease[], gone: readonly Passed[]): void {
    const { session, epoch, delivery } = reservation;
    this.#restore(reservation, gone);
    session.deliveryOrder.end(delivery, () => {
      if (leases.length > 0) this.#hooks.granted(session, epoch, delivery, leases);
    });
    this.#inFlight -= reservation.jobs.length;
    this.sessionChanged(session);
    this.wake();
  }

  /** The ledger stayed away: what it granted of a reservation is unknown. */
  lose(reservation: Reservation): void {
    const { session, epoch, delivery } = reservation;
    session.deliveryOrder.end(delivery, () => this.#hooks.claimLost(session, epoch));
    this.#inFlight -= reservation.jobs.length;
    this.wake();
  }

  /** No new claims; those in flight still come to their sessions. */
  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#looking);
  }

  #groupOf({ profile, profileText }: WorkerSession): WorkerGroup {
    let group = this.#groups.get(profileText);
    if (!group) {
      group = new WorkerGroup(profile, this.#book.all(), this.#choiceParts(profile));
      this.#groups.set(profileText, group);
    }
    return group;
  }

  #choiceParts(profile: WorkerProfile): ChoiceParts {
    // By the product's weights: they are another object when they changed.
    const merged = new WeakMap<Partial<ScoreWeights>, ScoreWeights>();
    return {
      lanes: this.#lanes,
      gates: this.#gates,
      scoreWeights: (lane) => {
        const own = this.#products.weightsOf(lane);
        const weights = merged.get(own) ?? mergeWeights(defaultScoreWeights, own, profile.weights);
        merged.set(own, weights);
        return weights;
      },
      fairnessWeight: (lane) => this.#book.fairnessWeight(lane),
    };
  }

  #lookAgain(): void {
    const nowMs = Date.now();
    for (const [text, group] of this.#groups) {
      if (group.isForgotten(nowMs)) this.#groups.delete(text);
      else group.lookAgain(nowMs);
    }
    this.wake();
  }

  #round(): void {
    for (const group of this.#groups.values()) if (group.hungry.size > 0) group.lookAtHeld();
    const { leasesPerMessageMax, claimsInFlightMax } = this.#limits;
    let isMoving = true;
    while (isMoving && this.#inFlight < claimsInFlightMax) {
      isMoving = false;
      for (const group of this.#groups.values()) {
        const claim = (session: WorkerSession, refs: readonly Ref[]) => {
          for (const other of this.#groups.values()) if (other !== group) other.takenElsewhere(refs);
          this.#claim(session, refs);
        };
        if (group.serveNext(leasesPerMessageMax, claim)) isMoving = true;
      }
    }
    for (const group of this.#groups.values()) if (group.hungry.size > 0) this.#reportStarved(group);
  }

  #reportStarved(group: WorkerGroup): void {
    for (const lane of group.lanesToSeek())
      if (this.#lanes.head(lane.laneId) === undefined && !this.#gates.isShut(lane))
        this.#hooks.starved(lane.laneId);
  }

  #claim(session: WorkerSession, refs: readonly Ref[]): void {
    const reservation = this.#setAside(session, refs);
    const { delivery, gateEpoch } = reservation;
    const { sessionId } = session;
    const weights = new Map<Lane, ScoreWeights>();
    const scoreOf = (lane: Lane, ref: Ref) => {
      const own = weights.get(lane) ?? this.#weightsOf(lane);
      weights.set(lane, own);
      return timelessScore(own, lane, ref);
    };
    const items = refs.map((ref) => {
      const lane = this.#book.get(ref.laneId);
      return {
        jobId: ref.jobId,
        sessionId,
        delivery,
        gateEpoch,
        score: lane ? scoreOf(lane, ref) : Number.MIN_SAFE_INTEGER,
        meterIds: lane ? this.#gates.metersOf(lane) : [],
      };
    });
    this.#ledger.claim(items).then(
      (grants) => this.#claimed(reservation, refs, grants),
      (error: unknown) => this.#claimFailed(reservation, refs, error),
    );
  }

  /** By which jobs of different sessions are compared: those of the product, whoever claims. */
  #weightsOf(lane: Lane): ScoreWeights {
    return mergeWeights(defaultScoreWeights, this.#products.weightsOf(lane));
  }

  #claimed(
    reservation: Reservation,
    refs: readonly Ref[],
    grants: Awaited<ReturnType<Ledger["claim"]>>,
  ): void {
    const leases: LaneLease[] = [];
    const gone: Ref[] = [];
    const early: Ref[] = [];
    for (const [at, ref] of refs.entries()) {
      const answer = grants[at];
      const lease = isLease(answer) ? answer : null;
      const lane = lease ? this.#book.get(lease.laneId) : undefined;
      if (lane && lease) leases.push({ lease, lane });
      else gone.push(ref);
      if (answer === "gates_changed" || answer === "contended") early.push(ref);
      if (isStopped(answer)) this.#hooks.stopped(reservation.session, ref, answer);
    }
    if (grants.includes("gates_changed")) this.#gates.changed();
    this.#lanes.settle(early.length > 0 ? refs.filter((ref) => !early.includes(ref)) : refs);
    this.#lanes.giveBack(early);
    this.grant(reservation, leases, gone);
  }

  /** Giving refs back that were claimed after all is harmless (D10). */
  #claimFailed(reservation: Reservation, refs: readonly Ref[], error: unknown): void {
    if (error instanceof Fault && error.reason === "BACKLOG_FULL")
      return this.#claimRefused(reservation, refs, error.retryAfterMs ?? retryDelayMs);
    this.lose(reservation);
    void delay(retryDelayMs).then(() => this.#lanes.giveBack(refs));
  }

  /** Nothing was granted. What is asked for at once would be refused as well, so the credit waits too. */
  #claimRefused(reservation: Reservation, refs: readonly Ref[], afterMs: number): void {
    this.grant(reservation, [], []);
    void delay(afterMs).then(() => {
      this.#restore(reservation, refs);
      this.#lanes.giveBack(refs);
      this.sessionChanged(reservation.session);
    });
  }

  #restore({ session, epoch, call }: Reservation, gone: readonly Passed[]): void {
    const isWanted = session.epoch === epoch && callOf(session) === call;
    if (gone.length > 0 && isWanted) session.credit = spend(session, gone, 1);
    for (const { laneId } of gone) this.#gates.giveBack(laneId, 1);
  }

  #setAside(session: WorkerSession, jobs: readonly Passed[]): Reservation {
    session.lastDelivery += 1;
    const delivery = session.lastDelivery;
    session.deliveryOrder.begin(delivery);
    session.credit = spend(session, jobs, -1);
    // A call is answered with one message: what it asked for beyond that lapses.
    if (session.link?.type === "unary") session.credit = { ...session.credit, jobs: 0 };
    this.#inFlight += jobs.length;
    const call = callOf(session);
    return { session, epoch: session.epoch, call, delivery, jobs, gateEpoch: this.#gates.epoch };
  }
}

type Answer = Awaited<ReturnType<Ledger["claim"]>>[number] | undefined;

function isLease(answer: Answer): answer is GrantedLease {
  return typeof answer === "object" && answer !== null && "jobId" in answer;
}

function isStopped(answer: Answer): answer is StoppedJob {
  return typeof answer === "object" && answer !== null && "stoppedAt" in answer;
}

function spend(session: WorkerSession, jobs: readonly Sized[], sign: 1 | -1) {
  const bytes = jobs.reduce((sum, job) => sum + job.bytes, 0);
  return { jobs: session.credit.jobs + sign * jobs.length, bytes: session.credit.bytes + sign * bytes };
}

/** The call that waits for leases, if that is how they are fetched. */
function callOf({ link }: WorkerSession): UnaryLink["onLeases"] {
  return link?.type === "unary" ? link.onLeases : null;
}

/** How many jobs from the first on fit into a credit, and into one message. */
function countFitting(jobs: readonly Sized[], credit: Credit, jobsMax: number): number {
  let bytes = 0;
  let count = 0;
  for (const job of jobs) {
    bytes += job.bytes;
    if (count >= Math.min(credit.jobs, jobsMax) || bytes > credit.bytes) break;
    count += 1;
  }
  return count;
}

function firstOf<Member>(set: ReadonlySet<Member>): Member | undefined {
  for (const member of set) return member;
  return undefined;
}
