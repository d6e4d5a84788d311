// How a worker comes to its session and leaves it: opens a new one, resumes its own on any hub with what it still
// holds, and detaches. A session is resumed in the ledger first, so an older attachment anywhere is fenced out
// before this one is served (D6).

import type { SessionProfile } from "../domain/fleet-view.js";
import type { WorkerProfile } from "../domain/lane.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";
import type { ResumeResult, ResumeSessionItem } from "../ledger/resume-session.js";
import type { Acknowledgements } from "./acknowledgements.js";
import { newId } from "./new-id.js";
import { sessionExpired } from "./session-faults.js";
import type { SessionLeases } from "./session-leases.js";
import type { HeldVerdict, Welcome, WorkerHello } from "./session-messages.js";
import type { Sessions } from "./sessions.js";
import {
  type HeldLease,
  type Link,
  type Outbox,
  type StreamLink,
  streamLink,
  type UnaryLink,
  WorkerSession,
} from "./worker-session.js";

type AttachmentLedger = Pick<Ledger, "openSession" | "resumeSession" | "closeSession" | "readReportedTokens">;

type Resumed = Extract<ResumeResult, { type: "resumed" }>;

export class Attachments {
  readonly #sessionTtlMs: number;
  readonly #ledger: AttachmentLedger;
  readonly #sessions: Sessions;
  readonly #leases: SessionLeases;
  readonly #acknowledgements: Acknowledgements;
  readonly #onCloseFailed: (error: unknown) => void;

  constructor(
    sessionTtlMs: number,
    ledger: AttachmentLedger,
    sessions: Sessions,
    leases: SessionLeases,
    acknowledgements: Acknowledgements,
    onCloseFailed: (error: unknown) => void,
  ) {
    this.#sessionTtlMs = sessionTtlMs;
    this.#ledger = ledger;
    this.#sessions = sessions;
    this.#leases = leases;
    this.#acknowledgements = acknowledgements;
    this.#onCloseFailed = onCloseFailed;
  }

  /**
   * Opens or resumes the session of a stream.
   *
   * @throws Fault HUB_STOPPING or STREAM_LIMIT
   */
  async attach(
    principal: Principal,
    hello: WorkerHello,
    outbox: Outbox,
  ): Promise<{ session: WorkerSession; link: StreamLink; welcome: Welcome }> {
    this.#sessions.streamOpened();
    try {
      const link = streamLink(outbox, Date.now());
      const resumed = hello.sessionId ? await this.#resume(principal, hello.sessionId, link, hello) : null;
      if (resumed) return { ...resumed, link };
      const session = await this.#open(principal, hello, link);
      const held = hello.held.map((lease): HeldVerdict => ({ ...lease, lostReason: "session_expired" }));
      return { session, link, welcome: { sessionId: session.sessionId, isResumed: false, held } };
    } catch (error) {
      this.#sessions.streamClosed();
      throw error;
    }
  }

  /**
   * Opens the session of a worker that calls.
   *
   * @throws Fault HUB_STOPPING or STREAM_LIMIT
   */
  openCalling(principal: Principal, hello: WorkerHello, link: UnaryLink): Promise<WorkerSession> {
    return this.#sessions.calling(() => this.#open(principal, hello, link));
  }

  async #open(principal: Principal, hello: WorkerHello, link: Link): Promise<WorkerSession> {
    const sessionId = newId();
    const stored = storedProfile(hello);
    await this.#ledger.openSession({
      sessionId,
      tenantId: principal.tenantId,
      keyId: principal.keyId,
      subject: principal.subject,
      workerName: hello.workerName,
      profile: stored,
      ttlMs: this.#sessionTtlMs,
    });
    const profile = profileOf(principal, stored);
    const session = new WorkerSession(sessionId, principal, hello.workerName, profile, 1, link);
    this.#sessions.enter(session);
    return session;
  }

  /**
   * The session of a unary call: this hub's, or taken over from the ledger with all its leases. A worker that received
   * more than this hub sent was served by another meanwhile.
   *
   * @throws Fault SESSION_EXPIRED, HUB_STOPPING or STREAM_LIMIT
   */
  async adopt(
    principal: Principal,
    sessionId: string,
    deliveredThrough: number,
    link: () => UnaryLink,
  ): Promise<{ session: WorkerSession; resumed: Resumed | null }> {
    const known = this.#sessions.get(sessionId);
    const isOurs = known?.link?.type === "unary" && isSamePrincipal(known.principal, principal);
    if (known && isOurs && deliveredThrough <= known.lastDelivery) return { session: known, resumed: null };
    return this.#sessions.calling(async () => {
      const resumed = await this.#ledger.resumeSession(this.#comeBack(principal, sessionId));
      if (resumed.type === "expired") throw sessionExpired();
      return { session: this.#enter(principal, sessionId, resumed, link()), resumed };
    });
  }

  /** The stream is gone, in good order or not. Called once per stream. */
  detach(session: WorkerSession, link: StreamLink): void {
    this.#sessions.streamClosed();
    if (session.link !== link) return;
    // With a claim in flight it is left to expire: what may yet be granted is then found and taken back.
    const isDone =
      session.state.type === "draining" && session.leases.size === 0 && session.deliveryOrder.size === 0;
    this.#sessions.leave(session, isDone ? "closed" : "lost");
    if (!isDone) return this.#acknowledgements.save(session);
    const { sessionId, epoch } = session;
    this.#ledger.closeSession({ sessionId, epoch }).catch(this.#onCloseFailed);
  }

  #comeBack({ tenantId, keyId, subject }: Principal, sessionId: string): ResumeSessionItem {
    return { sessionId, tenantId, keyId, subject, ttlMs: this.#sessionTtlMs };
  }

  async #resume(
    principal: Principal,
    sessionId: string,
    link: StreamLink,
    hello: WorkerHello,
  ): Promise<{ session: WorkerSession; welcome: Welcome } | null> {
    const resumed = await this.#ledger.resumeSession({
      ...this.#comeBack(principal, sessionId),
      // The process that comes back may be a newer build, with other handlers.
      worker: { workerName: hello.workerName, profile: storedProfile(hello) },
    });
    if (resumed.type === "expired") return null;
    const standing = new Map(resumed.leases.map((lease) => [lease.jobId, lease]));
    const isKept = (held: { jobId: string; fencingToken: bigint }) =>
      standing.get(held.jobId)?.fencingToken === held.fencingToken;
    const lost = hello.held.filter((held) => !isKept(held));
    const reported =
      lost.length > 0
        ? await this.#ledger.readReportedTokens(
            principal.tenantId,
            lost.map((held) => held.jobId),
          )
        : new Map<string, bigint>();
    const kept = new Set(hello.held.filter(isKept).map((held) => held.jobId));
    const session = this.#enter(principal, sessionId, resumed, link);
    const { deliveredThrough } = session;
    // Whatever is held now has been delivered, and whatever is not held goes back.
    session.deliveredThrough = session.lastDelivery;
    link.lastSent = session.lastDelivery;
    this.#leases.giveBack(
      session,
      resumed.leases
        .filter((lease) => !kept.has(lease.jobId))
        .map(({ jobId, fencingToken, delivery }) => ({
          jobId,
          sessionId,
          fencingToken,
          isStarted: delivery <= deliveredThrough,
        })),
      "expired",
    );
    const held = hello.held.map((lease): HeldVerdict => {
      if (isKept(lease)) return { ...lease, lostReason: null };
      const isReported = reported.get(lease.jobId) === lease.fencingToken;
      return { ...lease, lostReason: isReported ? "reported" : "stale_fence" };
    });
    return { session, welcome: { sessionId, isResumed: true, held } };
  }

  /** Takes a session over as the ledger has it; an older link of it on this hub is superseded. */
  #enter(principal: Principal, sessionId: string, resumed: Resumed, link: Link): WorkerSession {
    const former = this.#sessions.get(sessionId);
    if (former) this.#sessions.leave(former, "superseded");
    const profile = profileOf(principal, resumed.profile);
    const session = new WorkerSession(sessionId, principal, resumed.workerName, profile, resumed.epoch, link);
    // What the former attachment heard last may not have come to the ledger.
    session.deliveredThrough = Math.max(resumed.deliveredThrough, former?.deliveredThrough ?? 0);
    session.savedThrough = resumed.deliveredThrough;
    // Claims of the former attachment may still be in flight under higher numbers than the ledger shows.
    session.lastDelivery = Math.max(resumed.lastDelivery, former?.lastDelivery ?? 0);
    for (const lease of resumed.leases) session.hold({ ...lease, grantedAtMs: 0 } satisfies HeldLease);
    session.recordedDeliveries(resumed.deliveries);
    this.#sessions.enter(session);
    return session;
  }
}

function storedProfile({ kinds, capabilities, products, queues, weights }: WorkerHello): SessionProfile {
  return { kinds, capabilities, products, queues, ...(Object.keys(weights).length > 0 && { weights }) };
}

function profileOf(principal: Principal, stored: SessionProfile): WorkerProfile {
  const { kinds } = principal;
  return {
    tenantId: principal.tenantId,
    kinds: new Set(kinds ? stored.kinds.filter((kind) => kinds.has(kind)) : stored.kinds),
    capabilities: new Set(stored.capabilities),
    products: new Set(stored.products),
    queues: new Set(stored.queues),
    weights: stored.weights ?? {},
  };
}

function isSamePrincipal(a: Principal, b: Principal): boolean {
  return a.tenantId === b.tenantId && a.keyId === b.keyId && a.subject === b.subject;
}
