// The workers' sessions on this hub: which there are, how many streams they hold, what each is hungry for, and how
// they end. State machine of one session: worker-session.ts. How one comes to be: attachments.ts. How it is kept
// alive: session-liveness.ts. What becomes of its leases: session-leases.ts.
//
// Invariants
//  1. A session that has ended is not in here; of one session, only the newest attachment is.
//  2. The dispatcher hears of every change of a session's credit, link or state.
import { type CreditLimits, grantCredit, noCredit } from "../domain/credit.js";
import { Fault } from "../domain/fault.js";
import type { Dispatcher } from "./dispatcher.js";
import { claimLost, sessionExpired, sessionSuperseded } from "./session-faults.js";
import type { RevokedLease } from "./session-messages.js";
import type { WorkerSession } from "./worker-session.js";

export class Sessions {
  readonly #streamsMax: number;
  readonly #credit: CreditLimits;
  readonly #sessions = new Map<string, WorkerSession>();
  #dispatcher: Dispatcher | undefined;
  #streams = 0;
  /** Sessions of workers that call. */
  #calling = 0;
  #isStopping = false;

  constructor(streamsMax: number, credit: CreditLimits) {
    this.#streamsMax = streamsMax;
    this.#credit = credit;
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

  all(): Iterable<WorkerSession> {
    return this.#sessions.values();
  }

  /**
   * Counts a stream in; whoever does counts it out once.
   *
   * @throws Fault HUB_STOPPING or STREAM_LIMIT
   */
  streamOpened(): void {
    this.#admit(this.#streams, "streams");
    this.#streams += 1;
  }

  streamClosed(): void {
    this.#streams -= 1;
  }

  /**
   * Counts the session of a worker that calls in; it is counted out when it leaves, or here when it does not come to be.
   *
   * @throws Fault HUB_STOPPING or STREAM_LIMIT
   */
  async calling<Entered>(enter: () => Promise<Entered>): Promise<Entered> {
    this.#admit(this.#calling, "sessions of workers that call");
    this.#calling += 1;
    try {
      return await enter();
    } catch (error) {
      this.#calling -= 1;
      throw error;
    }
  }

  #admit(count: number, what: string): void {
    if (this.#isStopping) throw new Fault("HUB_STOPPING", "The hub is stopping; attach to another.");
    if (count >= this.#streamsMax)
      throw new Fault(
        "STREAM_LIMIT",
        `This hub holds ${this.#streamsMax} ${what} already.`,
        { limit: "streamsMax", value: String(this.#streamsMax) },
        { retryAfterMs: 5_000 },
      );
  }

  enter(session: WorkerSession): void {
    this.#sessions.set(session.sessionId, session);
  }

  /** The worker closed it in good order, its stream or what a claim came to was lost, or the ledger gave it up or to another stream. */
  leave(session: WorkerSession, why: "closed" | "lost" | "expired" | "superseded"): void {
    const { link } = session;
    session.state =
      why === "lost"
        ? { type: "lost", sinceMs: Date.now(), hadStream: link?.type === "stream" }
        : { type: "ended", why };
    session.credit = noCredit;
    if (link?.type === "unary") this.#calling -= 1;
    if (why !== "lost" && this.#sessions.get(session.sessionId) === session)
      this.#sessions.delete(session.sessionId);
    this.#dispatcher?.sessionChanged(session);
    if (why === "closed" || why === "lost") return;
    if (link?.type === "stream") link.outbox.end(why === "expired" ? sessionExpired() : sessionSuperseded());
    if (link?.type === "unary") link.onLeases?.();
  }

  /** Only a resume can tell what the ledger granted: the worker is sent away to come back. */
  claimLost(session: WorkerSession, epoch: number): void {
    const { link } = session;
    if (session.epoch !== epoch || !link) return;
    this.leave(session, "lost");
    if (link.type === "stream") link.outbox.end(claimLost());
    else link.onLeases?.();
  }

  /** @throws Fault CREDIT_OVERFLOW */
  grant(session: WorkerSession, jobs: number, bytes: number): void {
    const credit = grantCredit(session.credit, { jobs, bytes }, this.#credit);
    if (credit === "overflow")
      throw new Fault("CREDIT_OVERFLOW", "The outstanding credit would pass the limit of this hub.", {
        jobs_max: String(this.#credit.jobsMax),
        bytes_max: String(this.#credit.bytesMax),
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

  /** The worker wants no new leases. */
  drain(session: WorkerSession): void {
    if (session.state.type !== "live") return;
    session.state = { type: "draining", link: session.state.link };
    this.withdrawCredit(session);
  }

  /** Tells the worker that an attempt is taken away. False when it is not attached here. */
  revoke(sessionId: string, lease: RevokedLease): boolean {
    const session = this.#sessions.get(sessionId);
    if (!session) return false;
    if (lease.graceMs === 0) session.letGo(lease.jobId, lease.fencingToken);
    else session.warn(lease.jobId, lease.fencingToken);
    if (session.link?.type === "unary") session.link.revoked.push(lease);
    else session.send({ type: "revoke", leases: [lease] });
    return session.link !== null;
  }

  /** The ledger says that these sessions ran out. */
  expired(sessionIds: readonly string[]): void {
    for (const sessionId of sessionIds) {
      const session = this.#sessions.get(sessionId);
      if (session) this.leave(session, "expired");
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
    for (const session of this.#sessions.values()) session.send({ type: "drain", graceMs });
  }

  /** Ends the streams that are still there. */
  endAll(): void {
    for (const { link } of this.#sessions.values())
      if (link?.type === "stream") link.outbox.end(new Fault("HUB_STOPPING", "The hub is stopping."));
  }
}
