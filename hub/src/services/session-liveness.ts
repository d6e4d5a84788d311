// Keeps sessions alive in the ledger, which alone decides who is (D6), and notices workers that fell silent, deaf or
// careless of their deliveries. The rules of a stream's liveness: liveness.ts.
import { Fault } from "../domain/fault.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Acknowledgements } from "./acknowledgements.js";
import { hearHeartbeat, nextNonce } from "./liveness.js";
import { Renewals } from "./renewals.js";
import { sessionExpired, sessionSuperseded } from "./session-faults.js";
import type { SessionLeases } from "./session-leases.js";
import type { Sessions } from "./sessions.js";
import type { StreamLink, WorkerSession } from "./worker-session.js";

export interface LivenessSettings {
  readonly sessionTtlMs: number;
  readonly heartbeatIntervalMs: number;
}

const sweepIntervalMs = 500;
/** A heartbeat that is later than this may never come. */
const overdueIntervals = 1.5;

export class SessionLiveness {
  readonly settings: LivenessSettings;
  readonly #renewals: Renewals;
  readonly #sessions: Sessions;
  readonly #leases: SessionLeases;
  readonly #acknowledgements: Acknowledgements;
  readonly #sweeping: NodeJS.Timeout;

  constructor(
    settings: LivenessSettings,
    ledger: Pick<Ledger, "renewSessions">,
    sessions: Sessions,
    leases: SessionLeases,
    acknowledgements: Acknowledgements,
  ) {
    this.settings = settings;
    this.#renewals = new Renewals(ledger);
    this.#sessions = sessions;
    this.#leases = leases;
    this.#acknowledgements = acknowledgements;
    this.#sweeping = setInterval(() => this.#sweep(), sweepIntervalMs);
  }

  /** Renews the session and answers the heartbeat once the renewal committed. */
  async heartbeat(session: WorkerSession, link: StreamLink, nonce: bigint, echo: bigint): Promise<void> {
    const { sessionTtlMs, heartbeatIntervalMs } = this.settings;
    const echoLimitMs = Math.min(3 * heartbeatIntervalMs, sessionTtlMs);
    const liveness = hearHeartbeat(link, echo, session.deliveredThrough, Date.now(), echoLimitMs);
    if (liveness !== "alive") {
      this.#leases.returnUndelivered(session);
      throw liveness === "deaf"
        ? new Fault("HEARTBEAT_MISSED", "The worker sends heartbeats but does not read its stream.")
        : new Fault("DELIVERY_UNACKNOWLEDGED", "The worker reads leases but does not acknowledge them.");
    }
    const timeLeftMs = await this.renew(session);
    link.outbox.send({ type: "heartbeat", echo: nonce, nonce: nextNonce(link, Date.now()), timeLeftMs });
  }

  /**
   * Renews the session; answers the time left on it.
   *
   * @throws Fault SESSION_EXPIRED, SUPERSEDED or UNAUTHENTICATED
   */
  async renew(session: WorkerSession): Promise<number> {
    const lastClaim = session.link?.type === "unary" ? session.link.lastClaim : null;
    const item = {
      sessionId: session.sessionId,
      epoch: session.epoch,
      ttlMs: this.settings.sessionTtlMs,
      deliveredThrough: session.deliveredThrough,
      isDraining: session.state.type === "draining",
      lastRequest: lastClaim,
    };
    const result = await this.#renewals.renew(item, session.link?.type === "unary");
    if (result === "renewed") {
      session.savedThrough = Math.max(session.savedThrough, item.deliveredThrough);
      if (session.link?.type === "unary") session.link.renewedAtMs = Date.now();
      return this.settings.sessionTtlMs;
    }
    if (result instanceof Fault) throw result;
    if (result === "unauthorised")
      throw new Fault("UNAUTHENTICATED", "The API key was revoked or has expired.");
    this.#sessions.leave(session, result === "superseded" ? "superseded" : "expired");
    throw result === "superseded" ? sessionSuperseded() : sessionExpired();
  }

  stop(): void {
    clearInterval(this.#sweeping);
    this.#renewals.flush();
  }

  /**
   * Ends streams that fell silent; takes back what lost ones never received, and saves what they had acknowledged; forgets
   * those that cannot be alive here.
   */
  #sweep(): void {
    const { sessionTtlMs, heartbeatIntervalMs } = this.settings;
    const now = Date.now();
    for (const session of this.#sessions.all()) {
      const { link, state } = session;
      const silentMs = now - lastHeardMs(session);
      if (silentMs > overdueIntervals * heartbeatIntervalMs) this.#acknowledgements.save(session);
      if (state.type === "lost" && state.hadStream && silentMs > heartbeatIntervalMs)
        this.#leases.returnUndelivered(session);
      if (silentMs <= sessionTtlMs) continue;
      if (link?.type === "stream") {
        this.#leases.returnUndelivered(session);
        link.outbox.end(new Fault("HEARTBEAT_MISSED", "The hub has not heard from the worker."));
      } else {
        // Nothing here renewed it for a lifetime: by now it ran out, or lives on another hub.
        this.#sessions.leave(session, "expired");
      }
    }
  }
}

/** When something last renewed it, or its stream was lost. */
function lastHeardMs({ state, link }: WorkerSession): number {
  if (state.type === "lost") return state.sinceMs;
  return link?.type === "unary" ? link.renewedAtMs : (link?.heardAtMs ?? Number.POSITIVE_INFINITY);
}
