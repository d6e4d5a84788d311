// Workers that cannot hold a stream: the same sessions, leases and verdicts, by calls.

import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Attachments } from "./attachments.js";
import type { LaneBook } from "./lane-book.js";
import { claimLost } from "./session-faults.js";
import type { SessionLiveness } from "./session-liveness.js";
import type {
  CheckpointVerdict,
  IncomingCheckpoint,
  IncomingResult,
  LaneLease,
  ResultVerdict,
  RevokedLease,
  WorkerHello,
} from "./session-messages.js";
import type { SessionReports } from "./session-reports.js";
import type { Sessions } from "./sessions.js";
import { type UnaryLink, unaryLink, type WorkerSession } from "./worker-session.js";

export interface UnaryClaim {
  readonly requestId: string;
  /** null opens a session, described by `worker`. */
  readonly sessionId: string | null;
  readonly worker: WorkerHello | null;
  readonly jobsMax: number;
  readonly bytesMax: number;
  readonly waitMs: number;
  readonly deliveredThrough: number;
}

export interface UnaryClaimed {
  readonly sessionId: string;
  readonly timeLeftMs: number;
  readonly leases: { readonly delivery: number; readonly leases: readonly LaneLease[] } | null;
}

export interface UnaryReport {
  readonly results: readonly IncomingResult[];
  readonly checkpoints: readonly IncomingCheckpoint[];
  readonly releases: readonly { jobId: string; fencingToken: bigint; isStarted: boolean }[];
  readonly deliveredThrough: number;
}

export class UnaryWorkers {
  readonly #attachments: Attachments;
  readonly #sessions: Sessions;
  readonly #liveness: SessionLiveness;
  readonly #reports: SessionReports;
  readonly #ledger: Pick<Ledger, "readDelivery" | "readGrants">;
  readonly #book: LaneBook;

  constructor(
    attachments: Attachments,
    sessions: Sessions,
    liveness: SessionLiveness,
    reports: SessionReports,
    ledger: Pick<Ledger, "readDelivery" | "readGrants">,
    book: LaneBook,
  ) {
    this.#attachments = attachments;
    this.#sessions = sessions;
    this.#liveness = liveness;
    this.#reports = reports;
    this.#ledger = ledger;
    this.#book = book;
  }

  /**
   * Takes leases, waiting for the first; repeating the newest request repeats its answer.
   *
   * @throws Fault LEDGER_UNAVAILABLE when it is unknown what was granted: the next call finds out
   */
  async claim(principal: Principal, request: UnaryClaim, signal: AbortSignal): Promise<UnaryClaimed> {
    const { session, link } = request.sessionId
      ? await this.#adopt(principal, request.sessionId, request.deliveredThrough)
      : await this.#open(principal, request.worker as WorkerHello);
    session.acknowledge(request.deliveredThrough);
    link.waiting = link.waiting.filter(({ delivery }) => delivery > session.deliveredThrough);
    const repeated = link.lastClaim?.requestId === request.requestId ? link.lastClaim : null;
    if (!repeated) {
      if (link.onLeases)
        throw new Fault("INVALID_FIELD", "Another Claim of this session is under way.", {
          field: "session_id",
        });
      await this.#liveness.renew(session);
      await this.#returnExcess(session, link, request);
      requireNotLost(session);
      if (link.waiting.length === 0) await this.#await(session, link, request, signal);
      requireNotLost(session);
      const next = link.waiting.shift();
      if (next) link.lastClaim = { requestId: request.requestId, ...next };
    }
    const timeLeftMs = await this.#liveness.renew(session);
    const answer = link.lastClaim?.requestId === request.requestId ? link.lastClaim : null;
    const held =
      answer?.leases.filter(
        ({ lease }) => session.leases.get(lease.jobId)?.fencingToken === lease.fencingToken,
      ) ?? [];
    return {
      sessionId: session.sessionId,
      timeLeftMs,
      leases: answer && held.length > 0 ? { delivery: answer.delivery, leases: held } : null,
    };
  }

  /** Renews the session; answers which attempts to stop. */
  async renew(
    principal: Principal,
    sessionId: string,
    deliveredThrough: number,
  ): Promise<{ timeLeftMs: number; revoked: readonly RevokedLease[] }> {
    const { session, link } = await this.#adopt(principal, sessionId, deliveredThrough);
    session.acknowledge(deliveredThrough);
    const timeLeftMs = await this.#liveness.renew(session);
    return { timeLeftMs, revoked: link.revoked.splice(0) };
  }

  async report(
    principal: Principal,
    sessionId: string,
    report: UnaryReport,
  ): Promise<{ verdicts: readonly ResultVerdict[]; checkpoints: readonly CheckpointVerdict[] }> {
    const session = await this.session(principal, sessionId, report.deliveredThrough);
    // Checkpoints first: a result ends the lease that they belong to.
    const checkpoints = await this.#reports.checkpoint(session, report.checkpoints);
    const verdicts = await this.#reports.report(session, report.results);
    await this.#reports.release(session, report.releases);
    return { verdicts, checkpoints };
  }

  /** The session that a call speaks for. */
  async session(principal: Principal, sessionId: string, deliveredThrough: number): Promise<WorkerSession> {
    const { session } = await this.#adopt(principal, sessionId, deliveredThrough);
    session.acknowledge(deliveredThrough);
    return session;
  }

  async #open(
    principal: Principal,
    worker: WorkerHello,
  ): Promise<{ session: WorkerSession; link: UnaryLink }> {
    const link = unaryLink(Date.now());
    return { session: await this.#attachments.openCalling(principal, worker, link), link };
  }

  async #adopt(
    principal: Principal,
    sessionId: string,
    deliveredThrough: number,
  ): Promise<{ session: WorkerSession; link: UnaryLink }> {
    const newLink = () => unaryLink(Date.now());
    const { session, resumed } = await this.#attachments.adopt(
      principal,
      sessionId,
      deliveredThrough,
      newLink,
    );
    const { link } = session;
    if (link?.type !== "unary") throw new Fault("SUPERSEDED", "A stream has resumed this session.");
    if (resumed?.lastRequest) link.lastClaim = await this.#readClaim(session, resumed.lastRequest);
    if (resumed) link.waiting.push(...(await this.#readUnanswered(session, resumed.lastRequest)));
    return { session, link };
  }

  /** The newest claim that another hub, or this one before a restart, answered. */
  async #readClaim(
    session: WorkerSession,
    request: { readonly requestId: string; readonly delivery: number },
  ): Promise<NonNullable<UnaryLink["lastClaim"]>> {
    const jobIds = await this.#ledger.readDelivery(session.sessionId, request.delivery);
    return { ...request, leases: await this.#readLeases(session, jobIds) };
  }

  /** What another hub was granted and did not answer a Claim with: nobody knows of it but the ledger. */
  async #readUnanswered(
    session: WorkerSession,
    answered: { readonly delivery: number } | null,
  ): Promise<UnaryLink["waiting"]> {
    const open = session.undelivered().filter(({ delivery }) => delivery !== answered?.delivery);
    const deliveries = new Set(open.map(({ delivery }) => delivery).sort((one, other) => one - other));
    const leases = await this.#readLeases(
      session,
      open.map(({ jobId }) => jobId),
    );
    const waiting = [...deliveries].map((delivery) => ({
      delivery,
      leases: leases.filter(({ lease }) => session.leases.get(lease.jobId)?.delivery === delivery),
    }));
    return waiting.filter((one) => one.leases.length > 0);
  }

  async #readLeases(session: WorkerSession, jobIds: readonly string[]): Promise<LaneLease[]> {
    const grants = jobIds.length > 0 ? await this.#ledger.readGrants(session.sessionId, jobIds) : [];
    return grants.flatMap((lease) => {
      const lane = this.#book.get(lease.laneId);
      return lane ? [{ lease, lane }] : [];
    });
  }

  /** Leases that came too late for the Claim before are this one's, unless they are more than it asks for. */
  async #returnExcess(session: WorkerSession, link: UnaryLink, request: UnaryClaim): Promise<void> {
    const excess = link.waiting.filter(({ leases }) => !fits(leases, request));
    if (excess.length === 0) return;
    link.waiting = link.waiting.filter(({ leases }) => fits(leases, request));
    await this.#reports.release(
      session,
      excess.flatMap(({ leases }) =>
        leases.map(({ lease: { jobId, fencingToken } }) => ({ jobId, fencingToken, isStarted: false })),
      ),
    );
  }

  #await(session: WorkerSession, link: UnaryLink, request: UnaryClaim, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timeout);
        clearInterval(renewing);
        signal.removeEventListener("abort", done);
        link.onLeases = null;
        this.#sessions.withdrawCredit(session);
        resolve();
      };
      // Even a claim that does not wait gives the ledger the moment that one takes.
      const timeout = setTimeout(done, Math.max(request.waitMs, 50));
      // A wait may be longer than the session lives; what ends it meanwhile is told by the next renewal.
      const renewing = setInterval(
        () => void this.#liveness.renew(session).catch(done),
        this.#liveness.settings.heartbeatIntervalMs,
      );
      signal.addEventListener("abort", done, { once: true });
      link.onLeases = done;
      this.#sessions.grant(session, request.jobsMax, request.bytesMax);
    });
  }
}

function fits(leases: readonly LaneLease[], { jobsMax, bytesMax }: UnaryClaim): boolean {
  const bytesOf = ({ lease }: LaneLease) => lease.payload.length + (lease.checkpoint?.state.length ?? 0);
  return leases.length <= jobsMax && leases.reduce((sum, lease) => sum + bytesOf(lease), 0) <= bytesMax;
}

/** @throws Fault LEDGER_UNAVAILABLE when it is unknown what a claim of the session was granted */
function requireNotLost(session: WorkerSession): void {
  if (session.state.type === "lost") throw claimLost();
}
