// What comes up a session: results, checkpoints, progress and released leases. Each is compared with its fencing
// token in the ledger; nothing here decides whether it still counts.
import { Fault } from "../domain/fault.js";
import type { Spend } from "../domain/job-spec.js";
import { decideOutcome, type Outcome } from "../domain/outcome.js";
import { defaultRetryPolicy } from "../domain/retry.js";
import type { Ledger } from "../ledger/ledger.js";
import type { JobFeed } from "./job-feed.js";
import type { ReturnLeases } from "./leases-back.js";
import type {
  CheckpointVerdict,
  IncomingCheckpoint,
  IncomingResult,
  Refusal,
  ResultVerdict,
} from "./session-messages.js";
import type { WorkOutcomes } from "./work-outcomes.js";
import type { WorkerSession } from "./worker-session.js";

export interface IncomingSpend extends Spend {
  readonly jobId: string;
  readonly fencingToken: bigint;
}

export interface IncomingProgress {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly percent: number;
  readonly message: string;
}

/** A service asked to slow down. */
export interface IncomingThrottle {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly retryAfterMs: number;
}

const progressFlushMs = 250;
const progressJobsMax = 20_000;

export class SessionReports {
  readonly #ledger: Pick<Ledger, "report" | "saveCheckpoints" | "recordProgress" | "recordSpend">;
  readonly #feed: JobFeed;
  readonly #returnLeases: ReturnLeases;
  readonly #noteDue: (dueAtMs: number) => void;
  readonly #countVerdicts: (verdict: string, count: number) => void;
  readonly #outcomes: Pick<WorkOutcomes, "ended" | "throttled">;
  readonly #onMeteredEnd: () => void;
  readonly #progress = new Map<string, IncomingProgress & { readonly sessionId: string }>();
  #flushing: NodeJS.Timeout | undefined;

  constructor(
    ledger: Pick<Ledger, "report" | "saveCheckpoints" | "recordProgress" | "recordSpend">,
    feed: JobFeed,
    returnLeases: ReturnLeases,
    noteDue: (dueAtMs: number) => void,
    countVerdicts: (verdict: string, count: number) => void,
    outcomes: Pick<WorkOutcomes, "ended" | "throttled">,
    onMeteredEnd: () => void,
  ) {
    this.#ledger = ledger;
    this.#feed = feed;
    this.#returnLeases = returnLeases;
    this.#noteDue = noteDue;
    this.#countVerdicts = countVerdicts;
    this.#outcomes = outcomes;
    this.#onMeteredEnd = onMeteredEnd;
  }

  /**
   * Commits results; answers a verdict per result, in order, once it is final. One that the ledger does not take just now
   * has none, and stays with its worker.
   */
  async report(session: WorkerSession, results: readonly IncomingResult[]): Promise<ResultVerdict[]> {
    const acceptable = results.filter(hasOutcome);
    const committed = await this.#ledger.report(
      acceptable.map(({ jobId, fencingToken, outcome, spend }) => {
        const held = session.leases.get(jobId);
        const policy = held?.options.retry ?? defaultRetryPolicy;
        const attemptsMax = held?.attemptsMax ?? policy.maxAttempts;
        const decision = decideOutcome(
          outcome,
          held?.attempt ?? 1,
          { ...policy, maxAttempts: attemptsMax },
          Math.random(),
        );
        const isLinked = held === undefined || held.options.run !== undefined;
        const isMetered = held?.isMetered === true;
        const { sessionId } = session;
        const reported = { jobId, sessionId, fencingToken, outcome, decision, isLinked, isMetered };
        return spend ? { ...reported, spend } : reported;
      }),
    );
    let at = 0;
    const verdicts = results.flatMap((result): ResultVerdict | readonly ResultVerdict[] => {
      const { jobId, fencingToken } = result;
      if (result.outcome.type === "refused")
        return { jobId, fencingToken, verdict: { type: "refused", refusal: result.outcome.refusal } };
      const verdict = committed[at] as (typeof committed)[number];
      at += 1;
      if (verdict instanceof Fault && verdict.reason === "LEDGER_UNAVAILABLE") return [];
      if (verdict instanceof Fault)
        return { jobId, fencingToken, verdict: { type: "refused", refusal: refusalOf(verdict) } };
      const held = session.leases.get(jobId);
      session.letGo(jobId, fencingToken);
      if (verdict.type === "committed") {
        if (held?.isMetered) this.#onMeteredEnd();
        if (held?.fencingToken === fencingToken) this.#outcomes.ended(held, result.outcome);
        this.#progress.delete(jobId);
        if (verdict.dueAtMs !== null) this.#noteDue(verdict.dueAtMs);
        this.#feed.changed(jobId);
      }
      return { jobId, fencingToken, verdict };
    });
    this.#count(verdicts);
    return verdicts;
  }

  async checkpoint(
    session: WorkerSession,
    checkpoints: readonly IncomingCheckpoint[],
  ): Promise<CheckpointVerdict[]> {
    const acceptable = checkpoints.filter((checkpoint) => checkpoint.refusal === null);
    const saved = await this.#ledger.saveCheckpoints(
      acceptable.map(({ jobId, fencingToken, sequence, state }) => ({
        jobId,
        sessionId: session.sessionId,
        fencingToken,
        sequence,
        state,
      })),
    );
    let at = 0;
    return checkpoints.map(({ jobId, fencingToken, sequence, refusal }): CheckpointVerdict => {
      const about = { jobId, fencingToken, sequence };
      if (refusal) return { ...about, verdict: { type: "refused", refusal } };
      const result = saved[at] as (typeof saved)[number];
      at += 1;
      if (result instanceof Fault)
        return { ...about, verdict: { type: "refused", refusal: refusalOf(result) } };
      return { ...about, verdict: { type: result } };
    });
  }

  /**
   * Keeps the newest per job that the session holds, and records it a few times a second. Beyond the bound, progress is
   * dropped.
   */
  progress(session: WorkerSession, reports: readonly IncomingProgress[]): void {
    for (const report of reports) {
      if (session.leases.get(report.jobId)?.fencingToken !== report.fencingToken) continue;
      if (this.#progress.size >= progressJobsMax && !this.#progress.has(report.jobId)) continue;
      this.#progress.set(report.jobId, { ...report, sessionId: session.sessionId });
    }
    this.#flushing ??= setTimeout(() => void this.#flushProgress(), progressFlushMs);
  }

  /** Nothing is committed for it: it only bounds what starts from now on. */
  throttled(session: WorkerSession, { jobId, fencingToken, retryAfterMs }: IncomingThrottle): void {
    const held = session.leases.get(jobId);
    if (held?.fencingToken === fencingToken) this.#outcomes.throttled(held, retryAfterMs);
  }

  /** What attempts have spent so far, of those that are current. */
  async spend(session: WorkerSession, spends: readonly IncomingSpend[]): Promise<void> {
    const { sessionId } = session;
    await this.#ledger.recordSpend(spends.map((spend) => ({ ...spend, sessionId })));
  }

  async release(
    session: WorkerSession,
    leases: readonly { jobId: string; fencingToken: bigint; isStarted: boolean }[],
  ): Promise<void> {
    const { sessionId } = session;
    await this.#returnLeases(
      leases.map((lease) => ({ ...lease, sessionId })),
      "released",
    );
    for (const lease of leases) session.letGo(lease.jobId, lease.fencingToken);
  }

  stop(): void {
    clearTimeout(this.#flushing);
    this.#progress.clear();
  }

  #count(verdicts: readonly ResultVerdict[]): void {
    const counts = new Map<string, number>();
    for (const { verdict } of verdicts) counts.set(verdict.type, (counts.get(verdict.type) ?? 0) + 1);
    for (const [verdict, count] of counts) this.#countVerdicts(verdict, count);
  }

  async #flushProgress(): Promise<void> {
    this.#flushing = undefined;
    const items = [...this.#progress.values()];
    this.#progress.clear();
    try {
      const current = await this.#ledger.recordProgress(items);
      for (const [at, item] of items.entries()) if (current[at] === true) this.#feed.changed(item.jobId);
    } catch (error) {
      // Progress is best effort: while the ledger is away, what came meanwhile is dropped.
      if (!(error instanceof Fault)) throw error;
    }
  }
}

function hasOutcome(result: IncomingResult): result is IncomingResult & { readonly outcome: Outcome } {
  return result.outcome.type !== "refused";
}

function refusalOf(fault: Fault): Refusal {
  return { reason: fault.reason, message: fault.message, metadata: fault.metadata };
}
