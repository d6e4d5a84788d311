// Submits ended jobs and runs once more, and compares what that came to with what they had come to.

import { Fault } from "../domain/fault.js";
import { type ReplayedJob, type ReplayView, replayJobsMax } from "../domain/replay.js";
import type { Principal } from "../domain/scope.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import { requireKinds } from "./access.js";
import { jobNotFound } from "./jobs.js";
import { newId } from "./new-id.js";

type ReplayLedger = Pick<Ledger, "readReplaySource" | "replay" | "readReplay" | "readReplayedJobs">;

/** A run may grow between the look at it and its replay. */
const triesMax = 3;

export interface ReplayRequest {
  readonly requestId: string;
  readonly jobId: string;
  readonly reason: string;
  readonly repeatsEffects: boolean;
}

export interface ReplayAnswer {
  readonly replayId: string;
  readonly jobs: number;
  readonly isExisting: boolean;
}

export interface ReplayPage {
  readonly replay: ReplayView;
  readonly jobs: readonly ReplayedJob[];
  /** Jobs that repeat what comes after this id are on the next page; null at the end. */
  readonly nextAfterId: string | null;
}

export class Replays {
  readonly #ledger: ReplayLedger;
  readonly #lanes: Lanes;
  readonly #count: (what: "job" | "run", jobs: number) => void;

  constructor(ledger: ReplayLedger, lanes: Lanes, count: (what: "job" | "run", jobs: number) => void) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#count = count;
  }

  /** @throws Fault JOB_NOT_FOUND, NOT_TERMINAL, KIND_NOT_ALLOWED, RUN_LIMIT, IDEMPOTENCY_CONFLICT */
  async replay(principal: Principal, request: ReplayRequest): Promise<ReplayAnswer> {
    const { tenantId, subject } = principal;
    for (let tries = 1; ; tries += 1) {
      const source = await this.#ledger.readReplaySource(tenantId, request.jobId);
      if (!source) throw dropped(request.jobId);
      if (source.jobs.length > replayJobsMax)
        throw new Fault("RUN_LIMIT", `A replay takes runs of at most ${replayJobsMax} jobs.`, {
          limit: "replayJobsMax",
          value: String(replayJobsMax),
        });
      if (source.jobs.length < source.jobsCounted)
        throw dropped(request.jobId, source.jobsCounted - source.jobs.length);
      requireKinds(principal, [...new Set(source.jobs.map(({ kind }) => kind))]);
      const result = await this.#ledger.replay({
        tenantId,
        requestId: request.requestId,
        originalId: request.jobId,
        isRun: source.isRun,
        jobs: source.jobs.map(({ jobId, laneId }) => ({ originalId: jobId, jobId: newId(), laneId })),
        repeatsEffects: request.repeatsEffects,
        reason: request.reason,
        requestedBy: subject,
      });
      switch (result.type) {
        case "accepted":
          this.#lanes.offer(result.refs);
          this.#count(source.isRun ? "run" : "job", source.jobs.length);
          return { replayId: result.replayId, jobs: source.jobs.length, isExisting: false };
        case "existing":
          return { replayId: result.replayId, jobs: result.jobs, isExisting: true };
        case "conflict":
          throw new Fault("IDEMPOTENCY_CONFLICT", "The request_id was used before for another replay.", {
            replay_id: result.replayId,
          });
        case "not_terminal":
          throw new Fault("NOT_TERMINAL", "Only what has ended can be replayed, and this job is open.", {
            job_id: result.jobId,
          });
        case "changed":
          if (tries === triesMax) throw dropped(request.jobId);
      }
    }
  }

  /** @throws Fault REPLAY_NOT_FOUND */
  async get(principal: Principal, id: string, afterId: string, limit: number): Promise<ReplayPage> {
    const replay = await this.#ledger.readReplay(principal.tenantId, id);
    if (!replay)
      throw new Fault("REPLAY_NOT_FOUND", "There is no replay with this id, or with this job.", {
        replay_id: id,
      });
    return { replay, ...(await this.#ledger.readReplayedJobs(replay.replayId, afterId, limit)) };
  }
}

/** Absent and another tenant's look the same, and so does what retention has dropped. */
function dropped(jobId: string, jobsMissing = 0): Fault {
  if (jobsMissing === 0) return jobNotFound(jobId);
  return new Fault(
    "JOB_NOT_FOUND",
    `Retention has dropped ${jobsMissing} jobs of this run, and their inputs with them.`,
    { job_id: jobId, jobs_missing: String(jobsMissing) },
  );
}
