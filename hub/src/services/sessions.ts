// Sessions of workers on this hub: attach, resume, liveness, credit, delivery. State machine of one session: see
// worker-session.ts. The ledger decides who is alive (D6); this renews, notices silence, and takes undelivered
// leases back.
import { v7 as uuidv7 } from "uuid";
import { type CreditLimits, grantCredit, noCredit } from "../domain/credit.js";
import { Fault } from "../domain/fault.js";
import type { SessionProfile } from "../domain/fleet-view.js";
import type { WorkerProfile } from "../domain/lane.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";
import type { ResumeResult } from "../ledger/resume-session.js";
import type { Dispatcher } from "./dispatcher.js";
import type { LeaseToReturn, ReturnLeases } from "./leases-back.js";
import { hearHeartbeat, nextNonce } from "./liveness.js";
import type { HeldVerdict, LaneLease, RevokedLease, Welcome, WorkerHello } from "./session-messages.js";
import {
  type HeldLease,
  type Link,
  type Outbox,
  type StreamLink,
  streamLink,
  WorkerSession,
} from "./worker-session.js";

export interface SessionSettings {
  readonly sessionTtlMs: number;
  readonly heartbeatIntervalMs: number;
  readonly streamsMax: number;
  readonly credit: CreditLimits;
}

type SessionLedger = Pick<
  Ledger,
  "openSession" | "resumeSession" | "renewSessions" | "closeSession" | "readReportedTokens"
>;

type Resumed = Extract<ResumeResult, { type: "resumed" }>;

const sweepIntervalMs = 500;

export class Sessions {
  readonly settings: SessionSettings;
  readonly #ledger: SessionLedger;
  readonly #returnLeases: ReturnLeases;
  readonly #onReturnFailed: (error: unknown) => void;
  readonly #sessions = new Map<string, WorkerSession>();
  readonly #sweeping: NodeJS.Timeout;
  #dispatcher: Dispatcher | undefined;
  #streams = 0;
  #isStopping = false;

  constructor(
    settings: SessionSettings,
    ledger: SessionLedger,
    returnLeases: ReturnLeases,
    onReturnFailed: (error: unknown) => void,
  ) {
    this.settings = settings;
    this.#ledger = ledger;
    this.#returnLeases = returnLeases;
    this.#onReturnFailed = onReturnFailed;
    this.#sweeping = setInterval(() => this.#sweep(), sweepIntervalMs);
  }

  /** The dispatcher and the sessions know each other; this closes the circle once, at start. */
  connect(dispatcher: Dispatcher): void {
    this.#dispatcher = dispatcher;
  }

  get streams(): number {
    return this.#streams;
  }

  get(sessionId: string): WorkerSession | undefined {
    return this.#sessions.get(sessionId);
  }

  /** Opens or resumes the session of a stream. */
  async attach(
    principal: Principal,
    hello: WorkerHello,
    outbox: Outbox,
  ): Promise<{ session: WorkerSession; link: StreamLink; welcome: Welcome }> {
    if (this.#isStopping) throw new Fault("HUB_STOPPING", "The hub is stopping; attach to another.");
    if (this.#streams >= this.settings.streamsMax)
      throw new Fault(
        "STREAM_LIMIT",
        `This hub holds ${this.settings.streamsMax} streams already.`,
        { limit: "streamsMax", value: String(this.settings.streamsMax) },
        { retryAfterMs: 5_000 },
      );
    this.#streams += 1;
    try {
      const link = streamLink(outbox, Date.now());
      const resumed = hello.sessionId ? await this.#resume(principal, hello.sessionId, link, hello) : null;
      if (resumed) return { ...resumed, link };
      const session = await this.open(principal, hello, link);
      const held = hello.held.map((lease): HeldVerdict => ({ ...lease, lostReason: "session_expired" }));
      return { session, link, welcome: { sessionId: session.sessionId, isResumed: false, held } };
    } catch (error) {
      this.#streams -= 1;
      throw error;
    }
  }

  /** Opens a new session. */
  async open(principal: Principal, hello: WorkerHello, link: Link): Promise<WorkerSession> {
    const sessionId = uuidv7();
    const stored = storedProfile(hello);
    await this.#ledger.openSession({
      sessionId,
      tenantId: principal.tenantId,
      keyId: principal.keyId,
      subject: principal.subject,
      workerName: hello.workerName,
      profile: stored,
      ttlMs: this.settings.sessionTtlMs,
    });
    const profile = profileOf(principal, stored);
    const session = new WorkerSession(sessionId, principal, hello.workerName, profile, 1, link);
    this.#sessions.set(sessionId, session);
    return session;
  }

  /** The session of a unary call: this hub's, or taken over from the ledger with all its leases. */
  async adopt(
    principal: Principal,
    sessionId: string,
    link: () => Link,
  ): Promise<{ session: WorkerSession; lastRequest: Resumed["lastRequest"] }> {
    const known = this.#sessions.get(sessionId);
    if (known && isSamePrincipal(known.principal, principal) && known.link?.type === "unary")
      return { session: known, lastRequest: null };
    const resumed = await this.#ledger.resumeSession({
      sessionId,
      tenantId: principal.tenantId,
      subject: principal.subject,
      ttlMs: this.settings.sessionTtlMs,
    });
    if (resumed.type === "expired") throw expired();
    return { session: this.#enter(principal, sessionId, resumed, link()), lastRequest: resumed.lastRequest };
  }

  /** The stream is gone, in good order or not. Called once per stream. */
  detach(session: WorkerSession, link: StreamLink): void {
    this.#streams -= 1;
    if (session.link !== link) return;
    // With a claim in flight it is left to expire: what may yet be granted is then found and taken back.
    const isDone =
      session.state.type === "draining" && session.leases.size === 0 && session.claimsInFlight === 0;
    session.credit = noCredit;
    session.state = isDone ? { type: "ended", why: "closed" } : { type: "lost", sinceMs: Date.now() };
    this.#dispatcher?.sessionChanged(session);
    if (!isDone) return;
    this.#sessions.delete(session.sessionId);
    this.#ledger
      .closeSession({ sessionId: session.sessionId, epoch: session.epoch })
      .catch(this.#onReturnFailed);
  }

  /** @throws Fault CREDIT_OVERFLOW */
  grant(session: WorkerSession, jobs: number, bytes: number): void {
    const credit = grantCredit(session.credit, { jobs, bytes }, this.settings.credit);
    if (credit === "overflow")
      throw new Fault("CREDIT_OVERFLOW", "The outstanding credit would pass the limit of this hub.", {
        jobs_max: String(this.settings.credit.jobsMax),
        bytes_max: String(this.settings.credit.bytesMax),
      });
    session.credit = credit;
    this.#dispatcher?.sessionChanged(session);
  }

  /** Takes back what credit is left. */
  withdrawCredit(session: WorkerSession): void {
    session.credit = noCredit;
    this.#dispatcher?.sessionChanged(session);
  }

  /** The worker can be sent to again. */
  unclogged(session: WorkerSession): void {
    this.#dispatcher?.sessionChanged(session);
  }

  /** @throws Fault ACK_BEYOND_SENT */
  acknowledge(session: WorkerSession, deliveredThrough: number): void {
    const { link } = session;
    const lastSent = link?.type === "stream" ? link.lastSent : session.lastDelivery;
    if (deliveredThrough > lastSent)
      throw new Fault("ACK_BEYOND_SENT", "A delivery was acknowledged that was never sent.", {
        delivered_through: String(deliveredThrough),
        last_delivery: String(lastSent),
      });
    if (deliveredThrough > session.deliveredThrough) session.deliveredThrough = deliveredThrough;
  }

  /** Renews the session and answers the heartbeat once the renewal committed. */
  async heartbeat(session: WorkerSession, link: StreamLink, nonce: bigint, echo: bigint): Promise<void> {
    const { sessionTtlMs, heartbeatIntervalMs } = this.settings;
    const echoLimitMs = Math.min(3 * heartbeatIntervalMs, sessionTtlMs);
    const liveness = hearHeartbeat(link, echo, session.deliveredThrough, Date.now(), echoLimitMs);
    if (liveness !== "alive") {
      this.#returnUndelivered(session);
      throw liveness === "deaf"
        ? new Fault("HEARTBEAT_MISSED", "The worker sends heartbeats but does not read its stream.")
        : new Fault("DELIVERY_UNACKNOWLEDGED", "The worker reads leases but does not acknowledge them.");
    }
    const timeLeftMs = await this.renew(session);
    const reply = {
      type: "heartbeat",
      echo: nonce,
      nonce: nextNonce(link, Date.now()),
    } as const;
    link.outbox.send({ ...reply, timeLeftMs });
  }

  /**
   * Renews the session; answers the time left on it.
   *
   * @throws Fault SESSION_EXPIRED or SUPERSEDED
   */
  async renew(session: WorkerSession): Promise<number> {
    const settledDeliveries = session.takeSettledDeliveries();
    const lastClaim = session.link?.type === "unary" ? session.link.lastClaim : null;
    try {
      const [result] = await this.#ledger.renewSessions([
        {
          sessionId: session.sessionId,
          epoch: session.epoch,
          ttlMs: this.settings.sessionTtlMs,
          deliveredThrough: session.deliveredThrough,
          isDraining: session.state.type === "draining",
          settledDeliveries,
          lastRequest: lastClaim,
        },
      ]);
      if (result === "renewed") return this.settings.sessionTtlMs;
      if (result instanceof Fault) throw result;
      if (result === "unauthorised")
        throw new Fault("UNAUTHENTICATED", "The API key was revoked or has expired.");
      this.#end(session, result === "superseded" ? "superseded" : "expired");
      throw result === "superseded" ? superseded() : expired();
    } catch (error) {
      session.putBackSettledDeliveries(settledDeliveries);
      throw error;
    }
  }

  /** The worker wants no new leases. */
  drain(session: WorkerSession): void {
    if (session.state.type !== "live") return;
    session.state = { type: "draining", link: session.state.link };
    session.credit = noCredit;
    this.#dispatcher?.sessionChanged(session);
  }

  /** Leases that were granted to an attachment: held and sent, or returned when it is gone. */
  granted(session: WorkerSession, epoch: number, delivery: number, leases: readonly LaneLease[]): void {
    const { link } = session;
    if (session.epoch !== epoch || !link || session.state.type === "draining") {
      const { sessionId } = session;
      this.#giveBack(
        leases.map(({ lease }) => ({
          jobId: lease.jobId,
          sessionId,
          fencingToken: lease.fencingToken,
          isStarted: false,
        })),
      );
      return;
    }
    for (const { lease } of leases)
      session.hold({
        jobId: lease.jobId,
        fencingToken: lease.fencingToken,
        attempt: lease.attempt,
        attemptsMax: lease.attemptsMax,
        delivery,
        options: lease.options,
      });
    if (link.type === "stream") {
      link.lastSent = delivery;
      link.outbox.send({ type: "leases", delivery, leases });
    } else {
      link.waiting.push({ delivery, leases });
      link.onLeases?.();
    }
  }

  /** Only a resume can tell what the ledger granted: the worker is sent away to come back. */
  claimLost(session: WorkerSession, epoch: number): void {
    if (session.epoch !== epoch || session.link?.type !== "stream") return;
    session.link.outbox.end(
      new Fault("LEDGER_UNAVAILABLE", "The ledger was away; attach again.", {}, { retryAfterMs: 1_000 }),
    );
  }

  /** Tells the worker, if it is here, that an attempt is taken away. */
  revoke(sessionId: string, lease: RevokedLease): void {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    if (lease.graceMs === 0) session.letGo(lease.jobId, lease.fencingToken);
    if (session.link?.type === "unary") session.link.revoked.push(lease);
    else session.send({ type: "revoke", leases: [lease] });
  }

  /** The ledger says that these sessions ran out. */
  expired(sessionIds: readonly string[]): void {
    for (const sessionId of sessionIds) {
      const session = this.#sessions.get(sessionId);
      if (session) this.#end(session, "expired");
    }
  }

  /** Ends the streams of a revoked key. */
  endKey(keyId: string): void {
    for (const session of this.#sessions.values())
      if (session.principal.keyId === keyId && session.link?.type === "stream")
        session.link.outbox.end(new Fault("UNAUTHENTICATED", "The API key was revoked."));
  }

  /** Tells every worker to leave; their leases stay with their sessions. */
  stop(graceMs: number): void {
    this.#isStopping = true;
    clearInterval(this.#sweeping);
    for (const session of this.#sessions.values()) session.send({ type: "drain", graceMs });
  }

  /** Ends the streams that are still there. */
  endAll(): void {
    for (const { link } of this.#sessions.values())
      if (link?.type === "stream") link.outbox.end(new Fault("HUB_STOPPING", "The hub is stopping."));
  }

  async #resume(
    principal: Principal,
    sessionId: string,
    link: StreamLink,
    hello: WorkerHello,
  ): Promise<{ session: WorkerSession; welcome: Welcome } | null> {
    const resumed = await this.#ledger.resumeSession({
      sessionId,
      tenantId: principal.tenantId,
      subject: principal.subject,
      ttlMs: this.settings.sessionTtlMs,
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
    const keptLeases = resumed.leases.filter((lease) => kept.has(lease.jobId));
    const session = this.#enter(principal, sessionId, { ...resumed, leases: keptLeases }, link);
    // Whatever is held now has been delivered, and whatever is not held goes back.
    session.deliveredThrough = session.lastDelivery;
    link.lastSent = session.lastDelivery;
    this.#giveBack(
      resumed.leases
        .filter((lease) => !kept.has(lease.jobId))
        .map((lease) => ({
          jobId: lease.jobId,
          sessionId,
          fencingToken: lease.fencingToken,
          isStarted: lease.delivery <= resumed.deliveredThrough,
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
    if (former) this.#end(former, "superseded");
    const profile = profileOf(principal, resumed.profile);
    const session = new WorkerSession(sessionId, principal, resumed.workerName, profile, resumed.epoch, link);
    session.deliveredThrough = resumed.deliveredThrough;
    // Claims of the former attachment may still be in flight under higher numbers than the ledger shows.
    session.lastDelivery = Math.max(resumed.lastDelivery, former?.lastDelivery ?? 0);
    for (const lease of resumed.leases) session.hold(lease satisfies HeldLease);
    const open = new Set(resumed.leases.map((lease) => lease.delivery));
    session.putBackSettledDeliveries(resumed.deliveries.filter((delivery) => !open.has(delivery)));
    this.#sessions.set(sessionId, session);
    return session;
  }

  #end(session: WorkerSession, why: "expired" | "superseded"): void {
    const { link } = session;
    session.state = { type: "ended", why };
    session.credit = noCredit;
    if (this.#sessions.get(session.sessionId) === session) this.#sessions.delete(session.sessionId);
    this.#dispatcher?.sessionChanged(session);
    if (link?.type === "stream") link.outbox.end(why === "expired" ? expired() : superseded());
    if (link?.type === "unary") link.onLeases?.();
  }

  /** Ends streams that fell silent; takes back what lost ones never received. */
  #sweep(): void {
    const now = Date.now();
    for (const session of this.#sessions.values()) {
      const { link, state } = session;
      if (link?.type === "stream" && now - link.heardAtMs > this.settings.sessionTtlMs) {
        this.#returnUndelivered(session);
        link.outbox.end(new Fault("HEARTBEAT_MISSED", "The hub has not heard from the worker."));
      }
      if (state.type === "lost" && now - state.sinceMs > this.settings.heartbeatIntervalMs)
        this.#returnUndelivered(session);
    }
  }

  #returnUndelivered(session: WorkerSession): void {
    const undelivered = session.undelivered();
    if (undelivered.length === 0) return;
    for (const lease of undelivered) session.letGo(lease.jobId, lease.fencingToken);
    const { sessionId } = session;
    this.#giveBack(
      undelivered.map(({ jobId, fencingToken }) => ({ jobId, sessionId, fencingToken, isStarted: false })),
    );
  }

  /** If the ledger stays away, the leases go back when the session expires. */
  #giveBack(leases: readonly LeaseToReturn[], why: "released" | "expired" = "released"): void {
    if (leases.length > 0) this.#returnLeases(leases, why).catch(this.#onReturnFailed);
  }
}

function storedProfile({ kinds, capabilities, products, queues }: WorkerHello): SessionProfile {
  return { kinds, capabilities, products, queues };
}

function profileOf(principal: Principal, stored: SessionProfile): WorkerProfile {
  const { kinds } = principal;
  return {
    tenantId: principal.tenantId,
    kinds: new Set(kinds ? stored.kinds.filter((kind) => kinds.has(kind)) : stored.kinds),
    capabilities: new Set(stored.capabilities),
    products: new Set(stored.products),
    queues: new Set(stored.queues),
  };
}

function isSamePrincipal(a: Principal, b: Principal): boolean {
  return a.tenantId === b.tenantId && a.subject === b.subject;
}

function expired(): Fault {
  return new Fault("SESSION_EXPIRED", "The session has expired; attach without it.");
}

function superseded(): Fault {
  return new Fault("SUPERSEDED", "A newer stream has resumed this session.");
}
