// Jobs that wait for others: submits them all or nothing, reads their graph, and passes on what their ends led to.

import { type Dependency, findCycle } from "../domain/dependency.js";
import { Fault } from "../domain/fault.js";
import type { LinkedSpec } from "../domain/job-spec.js";
import type { RunPolicy } from "../domain/run.js";
import type { RunChange, RunChanges } from "../domain/run-changes.js";
import type { ChildrenPage, DagPage } from "../domain/run-view.js";
import type { Principal } from "../domain/scope.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import {
  type Edge,
  type LinkedJob,
  type LinkedResult,
  type LinkedSubmit,
  runJobsMax,
} from "../ledger/submit-linked.js";
import type { JobFeed } from "./job-feed.js";
import { jobNotFound, type Submitted } from "./jobs.js";
import { type LaneBook, laneOf } from "./lane-book.js";
import { newId } from "./new-id.js";
import type { RevokedLease } from "./session-messages.js";

type RunsLedger = Pick<Ledger, "submitLinked" | "findKeys" | "readDag" | "readChildren" | "readJob">;

export interface SubmittedRun {
  readonly runId: string;
  readonly childIds: readonly string[];
  readonly isExisting: boolean;
}

export interface RunSettings {
  readonly policy: RunPolicy;
  readonly stopGraceMs: number;
}

/** Results on one page of children. */
const childrenBytesMax = 4 << 20;

export class Runs {
  readonly #ledger: RunsLedger;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #feed: JobFeed;
  readonly #noteDue: (dueAtMs: number) => void;
  readonly #revoke: (sessionId: string, lease: RevokedLease) => void;
  readonly #count: (change: RunChange, jobs: number) => void;

  constructor(
    ledger: RunsLedger,
    lanes: Lanes,
    book: LaneBook,
    feed: JobFeed,
    noteDue: (dueAtMs: number) => void,
    revoke: (sessionId: string, lease: RevokedLease) => void,
    count: (change: RunChange, jobs: number) => void,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#feed = feed;
    this.#noteDue = noteDue;
    this.#revoke = revoke;
    this.#count = count;
  }

  /**
   * Submits a job that waits for others, or can be undone (D1, D2).
   *
   * @throws Fault IDEMPOTENCY_CONFLICT, DEPENDENCY_…, RUN_LIMIT, and those of a lane
   */
  async submit(principal: Principal, job: LinkedSpec): Promise<Exclude<Submitted, Fault>> {
    const placed = await this.#place(principal, [job], null);
    const { jobIds, isExisting } = await this.#commit({ ...placed, type: "single" });
    return { jobId: jobIds[0] as string, isExisting };
  }

  /** @throws Fault as `submit`, and DEPENDENCY_CYCLE */
  async submitRun(
    principal: Principal,
    parent: LinkedSpec,
    children: readonly LinkedSpec[],
    settings: RunSettings,
  ): Promise<SubmittedRun> {
    const placed = await this.#place(principal, [parent, ...children], "parent first");
    const [outer] = placed.outerEdges;
    if (outer) throw elsewhere(outer.jobId);
    const { jobIds, isExisting } = await this.#commit({ ...placed, type: "run", ...settings });
    const [runId, ...childIds] = jobIds;
    return { runId: runId as string, childIds, isExisting };
  }

  /** @throws Fault as `submitRun`, and JOB_NOT_FOUND, PARENT_NOT_WAITING */
  async addChildren(
    principal: Principal,
    runId: string,
    children: readonly LinkedSpec[],
  ): Promise<Exclude<Submitted, Fault>[]> {
    const placed = await this.#place(principal, children, null);
    const { jobIds, isExisting } = await this.#commit({ ...placed, type: "children", runId });
    return jobIds.map((jobId) => ({ jobId, isExisting }));
  }

  /** @throws Fault JOB_NOT_FOUND, NOT_IN_RUN */
  async dag({ tenantId }: Principal, jobId: string, afterId: string, limit: number): Promise<DagPage> {
    const page = await this.#ledger.readDag(tenantId, jobId, afterId, limit);
    if (page) return page;
    if (!(await this.#ledger.readJob(tenantId, jobId))) throw jobNotFound(jobId);
    throw new Fault(
      "NOT_IN_RUN",
      "The job belongs to no run: nothing waits for it, and it waits for nothing.",
      {
        job_id: jobId,
      },
    );
  }

  /** @throws Fault JOB_NOT_FOUND */
  async children(
    { tenantId }: Principal,
    jobId: string,
    afterId: string,
    limit: number,
  ): Promise<ChildrenPage> {
    const bounds = { afterId, childrenMax: limit, bytesMax: childrenBytesMax };
    const page = await this.#ledger.readChildren(tenantId, jobId, bounds);
    if (page.children.length === 0 && !(await this.#ledger.readJob(tenantId, jobId)))
      throw jobNotFound(jobId);
    return page;
  }

  /** Ends of jobs changed others, in the same commit. What is lost of this is found in the ledger, later (D9). */
  advanced({ refs, jobIds, asked, counts, dueAtMs }: RunChanges): void {
    for (const [change, jobs] of counts) this.#count(change, jobs);
    this.#lanes.offer(refs);
    if (dueAtMs !== null) this.#noteDue(dueAtMs);
    for (const { sessionId, ...lease } of asked)
      this.#revoke(sessionId, { ...lease, reason: "cancelled", message: "The run was stopped." });
    for (const jobId of jobIds) this.#feed.changed(jobId);
  }

  /** Gives jobs their ids and lanes, and finds out which jobs their dependencies mean. */
  async #place(
    principal: Principal,
    specs: readonly LinkedSpec[],
    order: "parent first" | null,
  ): Promise<Pick<LinkedSubmit, "tenantId" | "jobs" | "edges" | "outerEdges">> {
    const { tenantId } = principal;
    const jobs: LinkedJob[] = [];
    for (const linked of specs) {
      const lane = await laneOf(this.#book, principal, linked.spec);
      const undo = linked.compensation && (await laneOf(this.#book, principal, linked.compensation.spec));
      jobs.push({
        jobId: newId(),
        laneId: lane.laneId,
        compensationLaneId: undo?.laneId ?? null,
        linked,
      });
    }
    const places = new Map(specs.map(({ spec }, at) => [spec.idempotencyKey, at]));
    places.delete("");
    const foreignKeys = specs
      .flatMap(({ dependsOn }) => dependsOn)
      .flatMap(({ on }) => (on.type === "key" && !places.has(on.key) ? [on.key] : []));
    const known = foreignKeys.length > 0 ? await this.#ledger.findKeys(tenantId, foreignKeys) : new Map();
    const edges: Edge[] = [];
    const outerEdges: Edge[] = [];
    const waitsFor: number[][] = specs.map((_, at) =>
      order === "parent first" && at === 0 ? specs.map((_, child) => child).slice(1) : [],
    );
    for (const [at, { dependsOn }] of specs.entries()) {
      const dependentId = (jobs[at] as LinkedJob).jobId;
      for (const { on, isHard } of dependsOn) {
        const place = on.type === "key" ? places.get(on.key) : undefined;
        if (place !== undefined) {
          waitsFor[at]?.push(place);
          edges.push({ jobId: (jobs[place] as LinkedJob).jobId, dependentId, isHard });
        } else outerEdges.push({ jobId: jobIdOf(on, known), dependentId, isHard });
      }
    }
    refuseCycle(waitsFor, specs);
    return { tenantId, jobs, edges: distinct(edges), outerEdges: distinct(outerEdges) };
  }

  async #commit(item: LinkedSubmit): Promise<{ jobIds: readonly string[]; isExisting: boolean }> {
    const result = await this.#ledger.submitLinked(item);
    if (result.type === "existing") {
      const isExisting = result.jobIds[0] !== item.jobs[0]?.jobId;
      return { jobIds: result.jobIds, isExisting };
    }
    if (result.type !== "accepted") throw refusal(result, item);
    this.#lanes.offer(result.refs);
    if (result.dueAtMs !== null) this.#noteDue(result.dueAtMs);
    return { jobIds: item.jobs.map(({ jobId }) => jobId), isExisting: false };
  }
}

function jobIdOf(on: Dependency["on"], known: ReadonlyMap<string, string>): string {
  if (on.type === "job") return on.jobId;
  const jobId = known.get(on.key);
  if (jobId) return jobId;
  throw new Fault("DEPENDENCY_NOT_FOUND", "No job has this idempotency key.", { idempotency_key: on.key });
}

/** A dependency that is named twice is one; hard if either says so. */
function distinct(edges: readonly Edge[]): Edge[] {
  const byEnds = new Map<string, Edge>();
  for (const edge of edges) {
    const ends = `${edge.jobId}/${edge.dependentId}`;
    byEnds.set(ends, { ...edge, isHard: edge.isHard || byEnds.get(ends)?.isHard === true });
  }
  return [...byEnds.values()];
}

function refuseCycle(waitsFor: readonly (readonly number[])[], specs: readonly LinkedSpec[]): void {
  const cycle = findCycle(waitsFor);
  if (!cycle) return;
  const named = cycle.map((place) => specs[place]?.spec.idempotencyKey || `job ${place}`).join(" → ");
  throw new Fault("DEPENDENCY_CYCLE", `These jobs wait for each other: ${named}.`, { cycle: named });
}

function elsewhere(jobId: string): Fault {
  return new Fault("DEPENDENCY_ELSEWHERE", "The jobs would have to belong to the same run, and do not.", {
    job_id: jobId,
  });
}

function refusal(
  result: Exclude<LinkedResult, { type: "accepted" | "existing" }>,
  item: LinkedSubmit,
): Fault {
  const runId = item.type === "children" ? item.runId : "";
  switch (result.type) {
    case "conflict":
      return new Fault("IDEMPOTENCY_CONFLICT", "The idempotency key was used before with other content.", {
        job_id: result.jobId,
      });
    case "dependency_not_found":
      return new Fault("DEPENDENCY_NOT_FOUND", "There is no such job to depend on.", {
        job_id: result.jobId,
      });
    case "dependency_failed":
      return new Fault("DEPENDENCY_FAILED", "The job that it would depend on has ended without success.", {
        job_id: result.jobId,
      });
    case "dependency_elsewhere":
      return elsewhere(result.jobId);
    case "parent_not_found":
      return jobNotFound(runId);
    case "not_waiting":
      return new Fault("PARENT_NOT_WAITING", "The job does not wait for children, or does so no more.", {
        job_id: runId,
      });
    case "too_large":
      return new Fault("RUN_LIMIT", `A run holds at most ${runJobsMax} jobs.`, {
        limit: "runJobsMax",
        value: String(runJobsMax),
      });
  }
}
