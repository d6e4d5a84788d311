// One worker's attachment, as this hub sees it. The ledger decides whether it is alive; this holds what a hub
// needs to serve it: its link, credit, leases and deliveries.
//
//            resume                 drain
//   lost ◄────────────► live ──────────────► draining
//    │   link or claim    │                     │
//    │   lost             │                     │
//    └──────────┬─────────┴─────────────────────┘
//               ▼
//             ended   (closed in good order, expired, or superseded by a newer stream)
import { type Credit, noCredit } from "../domain/credit.js";
import { Fault } from "../domain/fault.js";
import type { JobOptions } from "../domain/job-spec.js";
import { profileText, type WorkerProfile } from "../domain/lane.js";
import type { Principal } from "../domain/scope.js";
import { DeliveryOrder } from "./delivery-order.js";
import type { HubMessage, LaneLease, RevokedLease } from "./session-messages.js";

/** The sending half of a stream. */
export interface Outbox {
  send(message: HubMessage): void;
  /** The worker does not read as fast as it is sent to. */
  isClogged(): boolean;
  /** Ends the stream: in good order, or with a fault. */
  end(fault: Fault | null): void;
}

/** A nonce that was sent, and what had been sent before it. */
interface OpenNonce {
  readonly nonce: bigint;
  readonly sentAtMs: number;
  readonly lastDelivery: number;
}

/** A lease stream. */
export interface StreamLink {
  readonly type: "stream";
  readonly outbox: Outbox;
  heardAtMs: number;
  /** The highest delivery that was sent down. */
  lastSent: number;
  nextNonce: bigint;
  /** Nonces that were not echoed yet, oldest first. */
  openNonces: OpenNonce[];
  /** What must be acknowledged by the time of the next echo. */
  dueDelivery: number;
}

/** A worker that calls. What it has not fetched yet waits here. */
export interface UnaryLink {
  readonly type: "unary";
  /** When a call last renewed the session. */
  renewedAtMs: number;
  waiting: { readonly delivery: number; readonly leases: readonly LaneLease[] }[];
  readonly revoked: RevokedLease[];
  /** The newest claim and its answer; the leases may have been read back from the ledger. */
  lastClaim: {
    readonly requestId: string;
    readonly delivery: number;
    readonly leases: readonly LaneLease[];
  } | null;
  onLeases: (() => void) | null;
}

export type Link = StreamLink | UnaryLink;

export type SessionState =
  | { readonly type: "live"; readonly link: Link }
  | { readonly type: "draining"; readonly link: Link }
  | { readonly type: "lost"; readonly sinceMs: number; readonly hadStream: boolean }
  | { readonly type: "ended"; readonly why: "closed" | "expired" | "superseded" };

/** A lease that this session holds, with what a report of it is decided by. */
export interface HeldLease {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly attempt: number;
  readonly attemptsMax: number;
  readonly delivery: number;
  readonly options: JobOptions;
  readonly laneId: number;
  /** When this hub granted it, on the monotonic clock; 0 when another did. */
  readonly grantedAtMs: number;
  /** Its end makes room at a meter. */
  readonly isMetered?: boolean;
}

export class WorkerSession {
  readonly sessionId: string;
  readonly principal: Principal;
  readonly workerName: string;
  readonly profile: WorkerProfile;
  readonly profileText: string;
  state: SessionState;
  epoch: number;
  credit: Credit = noCredit;
  deliveredThrough = 0;
  /** As much of it as the ledger knows, or is being told. */
  savedThrough = 0;
  lastDelivery = 0;
  /** Deliveries that the ledger has not answered, or that wait for an earlier one. */
  readonly deliveryOrder = new DeliveryOrder();
  readonly leases = new Map<string, HeldLease>();
  /** Leases still open, per delivery. */
  readonly #openPerDelivery = new Map<number, number>();
  /** The highest that the ledger has a record of, as far as is known here. */
  #newestDelivery = 0;
  #settledDeliveries: number[] = [];
  /** Leases whose worker knows that they will be taken away. */
  readonly #warned = new WeakSet<HeldLease>();

  constructor(
    sessionId: string,
    principal: Principal,
    workerName: string,
    profile: WorkerProfile,
    epoch: number,
    link: Link,
  ) {
    this.sessionId = sessionId;
    this.principal = principal;
    this.workerName = workerName;
    this.profile = profile;
    this.profileText = profileText(profile);
    this.epoch = epoch;
    this.state = { type: "live", link };
  }

  get link(): Link | null {
    return this.state.type === "live" || this.state.type === "draining" ? this.state.link : null;
  }

  /** Whether the dispatcher may claim for it now. */
  get isHungry(): boolean {
    if (this.state.type !== "live" || this.credit.jobs <= 0 || this.credit.bytes <= 0) return false;
    return this.state.link.type === "unary" || !this.state.link.outbox.isClogged();
  }

  /** A lease that is here still on the same job has ended: there is only one. */
  hold(lease: HeldLease): void {
    this.#openPerDelivery.set(lease.delivery, (this.#openPerDelivery.get(lease.delivery) ?? 0) + 1);
    const former = this.leases.get(lease.jobId);
    if (former) this.letGo(former.jobId, former.fencingToken);
    this.leases.set(lease.jobId, lease);
    this.#recorded(lease.delivery);
  }

  /** Lets go of a lease that ended; of a newer lease on the same job, it does not. */
  letGo(jobId: string, fencingToken: bigint): void {
    const lease = this.leases.get(jobId);
    if (lease?.fencingToken !== fencingToken) return;
    this.leases.delete(jobId);
    const open = (this.#openPerDelivery.get(lease.delivery) as number) - 1;
    if (open > 0) {
      this.#openPerDelivery.set(lease.delivery, open);
    } else {
      this.#openPerDelivery.delete(lease.delivery);
      this.#settle(lease.delivery);
    }
  }

  /** What the ledger has a record of, in rising order: to be called once its leases are held. */
  recordedDeliveries(deliveries: readonly number[]): void {
    this.#newestDelivery = Math.max(this.#newestDelivery, deliveries.at(-1) ?? 0);
    for (const delivery of deliveries) this.#settle(delivery);
  }

  #recorded(delivery: number): void {
    const former = this.#newestDelivery;
    if (delivery <= former) return;
    this.#newestDelivery = delivery;
    if (former > 0) this.#settle(former);
  }

  /** The newest waits for the next one: by its record another hub knows what may be acknowledged. */
  #settle(delivery: number): void {
    if (delivery < this.#newestDelivery && !this.#openPerDelivery.has(delivery))
      this.#settledDeliveries.push(delivery);
  }

  /** The worker was told that this lease will be taken away after a grace. */
  warn(jobId: string, fencingToken: bigint): void {
    const lease = this.leases.get(jobId);
    if (lease?.fencingToken === fencingToken) this.#warned.add(lease);
  }

  isWarned(lease: HeldLease): boolean {
    return this.#warned.has(lease);
  }

  /** Deliveries that may be forgotten since the last call: all of their leases ended, and there is a newer one. */
  takeSettledDeliveries(): readonly number[] {
    const settled = this.#settledDeliveries;
    // Of ten thousand sessions that are asked twice a second, most have none.
    if (settled.length === 0) return settled;
    this.#settledDeliveries = [];
    return settled;
  }

  putBackSettledDeliveries(deliveries: readonly number[]): void {
    this.#settledDeliveries.push(...deliveries);
  }

  /** @throws Fault ACK_BEYOND_SENT */
  acknowledge(deliveredThrough: number): void {
    const lastSent = this.link?.type === "stream" ? this.link.lastSent : this.lastDelivery;
    if (deliveredThrough > lastSent)
      throw new Fault("ACK_BEYOND_SENT", "A delivery was acknowledged that was never sent.", {
        delivered_through: String(deliveredThrough),
        last_delivery: String(lastSent),
      });
    if (deliveredThrough > this.deliveredThrough) this.deliveredThrough = deliveredThrough;
  }

  undelivered(): HeldLease[] {
    return [...this.leases.values()].filter((lease) => lease.delivery > this.deliveredThrough);
  }

  send(message: HubMessage): void {
    const link = this.link;
    if (link?.type === "stream") link.outbox.send(message);
  }
}

export function streamLink(outbox: Outbox, nowMs: number): StreamLink {
  return {
    type: "stream",
    outbox,
    heardAtMs: nowMs,
    lastSent: 0,
    nextNonce: 1n,
    openNonces: [],
    dueDelivery: 0,
  };
}

export function unaryLink(nowMs: number): UnaryLink {
  return { type: "unary", renewedAtMs: nowMs, waiting: [], revoked: [], lastClaim: null, onLeases: null };
}
