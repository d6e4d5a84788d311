import { Fault } from "../domain/fault.js";
import type { JobNotes } from "../domain/job-note.js";
import { type InFlight, InFlightPolicy, type JobSpec } from "../domain/job-spec.js";
import { isTerminal } from "../domain/job-state.js";
import type { JobEvent, JobFilter, JobPage, JobView } from "../domain/job-view.js";
import type { Lane, Ref } from "../domain/lane.js";
import { jobsLimit } from "../domain/meter.js";
import { operatorBecause } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { Lanes } from "../lanes/lanes.js";
import type { CancelItem, CancelResult } from "../ledger/cancel-job.js";
import type { Ledger } from "../ledger/ledger.js";
import type { SubmitResult } from "../ledger/submit-jobs.js";
import type { DirectLeases, NewJob } from "./direct-leases.js";
import type { JobFeed } from "./job-feed.js";
import { type LaneBook, laneOf } from "./lane-book.js";
import { newId } from "./new-id.js";
import type { RevokedLease } from "./session-messages.js";

/** What became of one submitted job. */
export type Submitted =
  | {
      readonly jobId: string;
      readonly isExisting: boolean;
      /** The job whose unique key it took over, which is cancelled. */
      readonly replacedJobId?: string;
    }
  | Fault;

export interface WatchTarget {
  readonly jobId: string;
  readonly afterRevision: number;
}

export type WatchUpdate =
  | { readonly type: "event"; readonly event: JobEvent }
  | {
      readonly type: "progress";
      readonly jobId: string;
      readonly progress: NonNullable<JobView["progress"]>;
    };

/** A running Watch. */
interface Watcher {
  readonly keyId: string;
  isRevoked: boolean;
  wake: () => void;
}

type JobsLedger = Pick<
  Ledger,
  | "submit"
  | "readJob"
  | "listJobs"
  | "readHistory"
  | "readNotes"
  | "cancel"
  | "revive"
  | "readKeyLevel"
  | "findKeys"
>;

const historyEventsMax = 1_000;
const submitPartMax = 500;
const revisionMax = 2 ** 31 - 1;
/** A change on another hub is seen this late at worst. */
const watchPollMs = 2_000;

export class Jobs {
  readonly #ledger: JobsLedger;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #feed: JobFeed;
  readonly #noteDue: (dueAtMs: number) => void;
  readonly #revoke: (sessionId: string, lease: RevokedLease) => void;
  readonly #watchesMax: number;
  readonly #directLeases: DirectLeases;
  readonly #watchers = new Set<Watcher>();

  constructor(
    ledger: JobsLedger,
    lanes: Lanes,
    book: LaneBook,
    feed: JobFeed,
    noteDue: (dueAtMs: number) => void,
    revoke: (sessionId: string, lease: RevokedLease) => void,
    watchesMax: number,
    directLeases: DirectLeases,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#feed = feed;
    this.#noteDue = noteDue;
    this.#revoke = revoke;
    this.#watchesMax = watchesMax;
    this.#directLeases = directLeases;
  }

  /** Submits jobs (D1, D2); answers per job, in order. A Fault in place of a job passes through. */
  async submit(principal: Principal, specs: readonly (JobSpec | Fault)[]): Promise<Submitted[]> {
    const { tenantId } = principal;
    const admitted = await this.#admit(tenantId, specs);
    const lanes = await Promise.all(admitted.map((spec) => this.#laneOf(principal, spec)));
    const jobs = admitted.flatMap((spec, at): NewJob[] => {
      const lane = lanes[at];
      if (spec instanceof Fault || !lane || lane instanceof Fault) return [];
      return [{ jobId: newId(), tenantId, lane, spec }];
    });
    const results = await this.#commit(jobs);
    const ready: Ref[] = [];
    let at = 0;
    const answers = lanes.map((lane): Submitted => {
      if (lane instanceof Fault) return lane;
      const result = results[at] as (typeof results)[number];
      at += 1;
      if (result instanceof Fault) return result;
      if (result.type === "conflict")
        return new Fault("IDEMPOTENCY_CONFLICT", "The idempotency key was used before with other content.", {
          job_id: result.jobId,
        });
      if (result.type === "held") return keyHeld(result.jobId);
      if (result.type === "accepted") {
        if (result.replacedJobId) this.#feed.changed(result.replacedJobId);
        if (result.ref) ready.push(result.ref);
        if (result.dueAtMs !== null) this.#noteDue(result.dueAtMs);
      }
      const replacedJobId = (result.type === "accepted" && result.replacedJobId) || "";
      return { jobId: result.jobId, isExisting: result.type === "existing", replacedJobId };
    });
    this.#lanes.offer(ready);
    return answers;
  }

  /** In parts that each commit or fail for themselves: what was accepted is said even if a later part was not. */
  async #commit(jobs: readonly NewJob[]): Promise<readonly (SubmitResult | Fault)[]> {
    const { items, end } = this.#directLeases.begin(jobs);
    const parts: Promise<readonly (SubmitResult | Fault)[]>[] = [];
    for (let at = 0; at < items.length; at += submitPartMax) {
      const part = items.slice(at, at + submitPartMax);
      const refused = (error: unknown) => {
        if (error instanceof Fault) return part.map(() => error);
        throw error;
      };
      parts.push(this.#ledger.submit(part).catch(refused));
    }
    let results: readonly (SubmitResult | Fault)[] = [];
    try {
      results = (await Promise.all(parts)).flat();
      return results;
    } finally {
      end(results);
    }
  }

  async get(principal: Principal, jobId: string): Promise<JobView> {
    const job = await this.#ledger.readJob(principal.tenantId, jobId);
    if (!job) throw jobNotFound(jobId);
    return job;
  }

  history(principal: Principal, jobId: string): Promise<JobEvent[]> {
    return this.#ledger.readHistory(principal.tenantId, jobId, 0, historyEventsMax);
  }

  notes(principal: Principal, jobId: string): Promise<JobNotes> {
    return this.#ledger.readNotes(principal.tenantId, jobId);
  }

  list(principal: Principal, filter: JobFilter, beforeId: string, limit: number): Promise<JobPage> {
    return this.#ledger.listJobs(principal.tenantId, filter, beforeId, limit);
  }

  async cancel(principal: Principal, jobId: string, reason: string, graceMs: number): Promise<JobView> {
    const result = await this.stop({ jobId, tenantId: principal.tenantId, reason, graceMs });
    if (result.type === "not_found") throw jobNotFound(jobId);
    if (result.type === "terminal")
      throw new Fault("ALREADY_TERMINAL", "The job has ended already; it cannot be cancelled.", {
        state: String(result.state),
      });
    return this.get(principal, jobId);
  }

  /** Cancels a job if it is open, and tells whom it concerns. */
  async stop(item: CancelItem): Promise<CancelResult> {
    const { jobId, reason, graceMs } = item;
    const result = await this.#ledger.cancel(item);
    if (result.type !== "cancelled" && result.type !== "requested") return result;
    if (result.dueAtMs !== null) this.#noteDue(result.dueAtMs);
    if (result.lease)
      this.#revoke(result.lease.sessionId, {
        jobId,
        fencingToken: result.lease.fencingToken,
        reason: "cancelled",
        graceMs: result.type === "requested" ? graceMs : 0,
        message: reason,
      });
    this.#feed.changed(jobId);
    return result;
  }

  async retry(principal: Principal, jobId: string, reason: string): Promise<JobView> {
    const result = await this.#ledger.revive({ jobId, ...operatorBecause(principal, reason) });
    if (result.type === "not_found") throw jobNotFound(jobId);
    if (result.type === "key_held") throw keyHeld(result.heldBy);
    if (result.type === "not_dead")
      throw new Fault("NOT_DEAD", "Only a dead-lettered job can be retried.", {
        state: String(result.state),
      });
    if (result.ref) this.#lanes.offer([result.ref]);
    this.#feed.changed(jobId);
    return this.get(principal, jobId);
  }

  /**
   * Each job's events after its revision, in order, then live ones and progress, until all have ended. The feed
   * only wakes: every update is read from the ledger, so none is missed and none made up.
   */
  async *watch(
    principal: Principal,
    targets: readonly WatchTarget[],
    signal: AbortSignal,
  ): AsyncGenerator<WatchUpdate> {
    if (this.#watchers.size >= this.#watchesMax)
      throw new Fault("STREAM_LIMIT", `This hub serves ${this.#watchesMax} watches already.`, {
        limit: "watchesMax",
        value: String(this.#watchesMax),
      });
    const watcher: Watcher = { keyId: principal.keyId, isRevoked: false, wake: () => undefined };
    this.#watchers.add(watcher);
    const open = new Map(targets.map((target) => [target.jobId, target.afterRevision]));
    const progressAt = new Map<string, string>();
    const changed = new Set(open.keys());
    const unsubscribe = this.#feed.subscribe([...open.keys()], (jobId) => {
      changed.add(jobId);
      watcher.wake();
    });
    try {
      while (open.size > 0 && !signal.aborted) {
        if (watcher.isRevoked) throw new Fault("UNAUTHENTICATED", "The API key was revoked or has expired.");
        for (const jobId of changed) {
          changed.delete(jobId);
          const job = await this.get(principal, jobId);
          const after = open.get(jobId);
          if (after === undefined) continue;
          for (const event of await this.#eventsAfter(principal, job, after)) {
            open.set(jobId, event.revision);
            yield { type: "event", event };
          }
          if (job.progress && progressAt.get(jobId) !== job.progress.at) {
            progressAt.set(jobId, job.progress.at);
            yield { type: "progress", jobId, progress: job.progress };
          }
          if (isTerminal(job.state) && (open.get(jobId) ?? 0) >= job.revision) open.delete(jobId);
        }
        if (open.size === 0) break;
        const isDue = await new Promise<boolean>((resolve) => {
          const poll = setTimeout(() => resolve(true), watchPollMs);
          watcher.wake = () => {
            clearTimeout(poll);
            resolve(false);
          };
          signal.addEventListener("abort", watcher.wake, { once: true });
          if (changed.size > 0 || watcher.isRevoked) watcher.wake();
        });
        signal.removeEventListener("abort", watcher.wake);
        if (isDue) for (const jobId of open.keys()) changed.add(jobId);
      }
    } finally {
      unsubscribe();
      this.#watchers.delete(watcher);
    }
  }

  /** Keys that watches were opened with. */
  watchingKeys(): string[] {
    const keyIds = new Set([...this.#watchers].map((watcher) => watcher.keyId));
    keyIds.delete("");
    return [...keyIds];
  }

  /** Ends the watches of a revoked key. */
  endKey(keyId: string): void {
    for (const watcher of this.#watchers) {
      if (watcher.keyId !== keyId) continue;
      watcher.isRevoked = true;
      watcher.wake();
    }
  }

  async #eventsAfter(principal: Principal, job: JobView, afterRevision: number): Promise<JobEvent[]> {
    if (job.revision <= afterRevision) return [];
    // The job may have changed since it was read: a limit by its revision would cut off the oldest of the rest.
    return this.#ledger.readHistory(principal.tenantId, job.jobId, afterRevision, revisionMax);
  }

  /**
   * Refuses jobs that want a place for their key now or not at all, when there is none; not those that were submitted
   * before. Others may take the last place meanwhile: then the job waits.
   */
  async #admit(tenantId: number, specs: readonly (JobSpec | Fault)[]): Promise<readonly (JobSpec | Fault)[]> {
    const isUnwilling = (spec: JobSpec | Fault): spec is JobSpec =>
      !(spec instanceof Fault) && spec.options.inFlight?.policy === InFlightPolicy.Refuse;
    const unwilling = specs.filter(isUnwilling);
    if (unwilling.length === 0) return specs;
    const keys = [...new Set(unwilling.map((spec) => spec.options.inFlight?.key ?? ""))];
    const found = await Promise.all(keys.map((key) => this.#ledger.readKeyLevel(tenantId, key)));
    const levels = new Map(keys.map((key, at) => [key, found[at] ?? null]));
    const idempotencyKeys = unwilling.map((spec) => spec.idempotencyKey).filter((key) => key !== "");
    const known = await this.#ledger.findKeys(tenantId, idempotencyKeys);
    return specs.map((spec) => {
      if (!isUnwilling(spec) || known.has(spec.idempotencyKey)) return spec;
      const { key, jobsMax } = spec.options.inFlight as InFlight;
      const level = levels.get(key);
      const max = level ? jobsLimit(level, { declared: { meterId: level.meterId, jobsMax } }) : null;
      if (!level || max === null || level.jobs < max) return spec;
      return new Fault(
        "IN_FLIGHT_FULL",
        `${level.jobs} jobs of the key ${key} are in flight; ${max} may be.`,
        { key, limit: "in_flight", value: String(max) },
        { retryAfterMs: 1_000 },
      );
    });
  }

  /** The job's lane, or why it has none. */
  async #laneOf(principal: Principal, spec: JobSpec | Fault): Promise<Lane | Fault> {
    if (spec instanceof Fault) return spec;
    try {
      return await laneOf(this.#book, principal, spec);
    } catch (error) {
      if (error instanceof Fault) return error;
      throw error;
    }
  }
}

/** An open job has the unique key. */
export function keyHeld(jobId: string): Fault {
  return new Fault("UNIQUE_KEY_HELD", "An open job has this unique key.", { job_id: jobId });
}

export function jobNotFound(jobId: string): Fault {
  return new Fault("JOB_NOT_FOUND", "There is no such job.", { job_id: jobId });
}
