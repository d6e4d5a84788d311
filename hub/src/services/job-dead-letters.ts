// Dead-lettered jobs for operators: what died of what, and sending it back in parts that do not flood what it died of.
import {
  clusterOf,
  type DeadLetter,
  type DeadLetterCluster,
  type DeadLetterFilter,
  type DeadLetterPlace,
  isOfFailure,
  newestPlace,
  toDeadLetter,
} from "../domain/dead-letter.js";
import { Fault } from "../domain/fault.js";
import type { Ref } from "../domain/lane.js";
import { operatorBecause } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { JobFeed } from "./job-feed.js";
import { keyHeld } from "./jobs.js";

type DeadLetterLedger = Pick<
  Ledger,
  "walkDeadLetters" | "readDeadLetters" | "resolveDeadLetters" | "reviveAll"
>;

const lettersPerReadMax = 1_000;
/** Dead letters looked at for one answer, at most: bounds the cost of a filter that matches nothing. */
const scannedPerPageMax = 10_000;
const clusteredMax = 50_000;

export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[];
  /** Where the next page begins; null at the end. */
  readonly next: DeadLetterPlace | null;
}

export interface DeadLetterClusters {
  readonly clusters: readonly DeadLetterCluster[];
  /** Dead letters that were looked at. */
  readonly scanned: number;
  /** There were more, older ones. */
  readonly isTruncated: boolean;
}

/** What became of one dead letter that an operator acted on. */
export interface DeadLetterAnswer {
  readonly jobId: string;
  /** Why nothing was done; null when it was. */
  readonly fault: Fault | null;
}

export type RetryTarget =
  | { readonly type: "ids"; readonly jobIds: readonly string[] }
  | {
      readonly type: "filter";
      readonly filter: DeadLetterFilter;
      readonly after: DeadLetterPlace;
      readonly limit: number;
    };

export class JobDeadLetters {
  readonly #ledger: DeadLetterLedger;
  readonly #lanes: Lanes;
  readonly #feed: JobFeed;
  readonly #count: (act: "retried" | "resolved", letters: number) => void;

  constructor(
    ledger: DeadLetterLedger,
    lanes: Lanes,
    feed: JobFeed,
    count: (act: "retried" | "resolved", letters: number) => void,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#feed = feed;
    this.#count = count;
  }

  /** Newest first. A page may be short, or empty, although more follow. */
  async list(
    principal: Principal,
    filter: DeadLetterFilter,
    after: DeadLetterPlace,
    limit: number,
  ): Promise<DeadLetterPage> {
    const letters: DeadLetter[] = [];
    let next: DeadLetterPlace | null = after;
    for (let scanned = 0; next && scanned < scannedPerPageMax; scanned += lettersPerReadMax) {
      const page: Awaited<ReturnType<DeadLetterLedger["walkDeadLetters"]>> =
        await this.#ledger.walkDeadLetters(principal.tenantId, filter, next, lettersPerReadMax);
      for (const { job, place } of page.letters) {
        const letter = toDeadLetter(job);
        if (!isOfFailure(letter, filter)) continue;
        letters.push(letter);
        if (letters.length === limit) return { letters, next: place };
      }
      next = page.next;
    }
    return { letters, next };
  }

  /** @throws Fault DEAD_LETTER_NOT_FOUND */
  async get(principal: Principal, jobId: string): Promise<DeadLetter> {
    const [job] = await this.#ledger.readDeadLetters(principal.tenantId, [jobId]);
    if (!job) throw notFound(jobId);
    return toDeadLetter(job);
  }

  async clusters(principal: Principal, filter: DeadLetterFilter): Promise<DeadLetterClusters> {
    const letters: DeadLetter[] = [];
    let next: DeadLetterPlace | null = null;
    let scanned = 0;
    do {
      const page: DeadLetterPage = await this.#page(principal, filter, next);
      letters.push(...page.letters);
      next = page.next;
      scanned += lettersPerReadMax;
    } while (next && scanned < clusteredMax);
    return { clusters: clusterOf(letters), scanned: letters.length, isTruncated: next !== null };
  }

  /**
   * Sends dead letters back to ready: those named, or the next part of those that match and nobody resolved. A dry run
   * answers the same and does nothing.
   */
  async retry(
    principal: Principal,
    target: RetryTarget,
    reason: string,
    isDryRun: boolean,
  ): Promise<{ readonly answers: readonly DeadLetterAnswer[]; readonly next: DeadLetterPlace | null }> {
    const { tenantId } = principal;
    const page: { readonly jobIds: readonly string[]; readonly next: DeadLetterPlace | null } =
      target.type === "ids"
        ? { jobIds: target.jobIds, next: null }
        : await this.list(principal, target.filter, target.after, target.limit).then(({ letters, next }) => ({
            jobIds: letters.map(({ jobId }) => jobId),
            next,
          }));
    if (isDryRun) {
      const found = await this.#ledger.readDeadLetters(tenantId, page.jobIds);
      const dead = new Set(found.map(({ jobId }) => jobId));
      const answers = page.jobIds.map((jobId) => ({
        jobId,
        fault: dead.has(jobId) ? null : notFound(jobId),
      }));
      return { answers, next: page.next };
    }
    const operator = operatorBecause(principal, reason);
    const results = await this.#ledger.reviveAll(page.jobIds.map((jobId) => ({ jobId, ...operator })));
    const refs: Ref[] = [];
    const answers = page.jobIds.map((jobId, at): DeadLetterAnswer => {
      const result = results[at];
      if (result instanceof Fault) return { jobId, fault: result };
      if (result?.type === "key_held") return { jobId, fault: keyHeld(result.heldBy) };
      if (result?.type !== "revived") return { jobId, fault: notFound(jobId) };
      if (result.ref) refs.push(result.ref);
      this.#feed.changed(jobId);
      return { jobId, fault: null };
    });
    this.#lanes.offer(refs);
    this.#count("retried", answers.filter(({ fault }) => fault === null).length);
    return { answers, next: page.next };
  }

  /** Notes that dead letters are dealt with: they stay, and no retry by filter takes them. */
  async resolve(principal: Principal, jobIds: readonly string[], note: string): Promise<DeadLetterAnswer[]> {
    const resolved = await this.#ledger.resolveDeadLetters(operatorBecause(principal, note), jobIds);
    this.#count("resolved", resolved.size);
    return jobIds.map((jobId) => ({ jobId, fault: resolved.has(jobId) ? null : notFound(jobId) }));
  }

  async #page(
    principal: Principal,
    filter: DeadLetterFilter,
    after: DeadLetterPlace | null,
  ): Promise<DeadLetterPage> {
    const from = after ?? newestPlace;
    const page = await this.#ledger.walkDeadLetters(principal.tenantId, filter, from, lettersPerReadMax);
    const letters = page.letters.map(({ job }) => toDeadLetter(job));
    return { letters: letters.filter((letter) => isOfFailure(letter, filter)), next: page.next };
  }
}

function notFound(jobId: string): Fault {
  return new Fault("DEAD_LETTER_NOT_FOUND", "The job is no dead letter, or not there.", { job_id: jobId });
}
