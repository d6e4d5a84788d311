import { v7 as uuidv7 } from "uuid";
import type { LinkedSpec } from "../../src/domain/job-spec.js";
import type { JobState } from "../../src/domain/job-state.js";
import { RunPolicy } from "../../src/domain/run.js";
import { firstUuid } from "../../src/domain/uuid.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { ReplayItem } from "../../src/ledger/replay-jobs.js";
import type { Edge, LinkedJob, LinkedResult, LinkedSubmit } from "../../src/ledger/submit-linked.js";
import { jobSpec } from "./job-spec.js";
import type { LedgerRoom } from "./ledger-room.js";

export function linkedSpec(overrides: Partial<LinkedSpec> = {}): LinkedSpec {
  return { spec: jobSpec(), dependsOn: [], compensation: null, ...overrides };
}

export function linkedJob(room: LedgerRoom, linked: LinkedSpec = linkedSpec()): LinkedJob {
  return { jobId: uuidv7(), laneId: room.lane.laneId, compensationLaneId: room.lane.laneId, linked };
}

export function hard(jobId: string, dependentId: string): Edge {
  return { jobId, dependentId, isHard: true };
}

export function soft(jobId: string, dependentId: string): Edge {
  return { jobId, dependentId, isHard: false };
}

/** Submits one job that follows others. */
export async function submitAfter(
  room: LedgerRoom,
  after: (dependentId: string) => readonly Edge[],
  linked: LinkedSpec = linkedSpec(),
): Promise<{ jobId: string; result: LinkedResult }> {
  const job = linkedJob(room, linked);
  const item: LinkedSubmit = {
    type: "single",
    tenantId: 1,
    jobs: [job],
    edges: [],
    outerEdges: after(job.jobId),
  };
  return { jobId: job.jobId, result: await room.ledger.submitLinked(item) };
}

/** Submits a parent with children; edges name children by their places. */
export async function submitRun(
  room: LedgerRoom,
  children: number | readonly LinkedSpec[],
  edges: readonly (readonly [from: number, to: number, isHard?: boolean])[] = [],
  policy: RunPolicy = RunPolicy.FailFast,
  parent: LinkedSpec = linkedSpec(),
): Promise<{ runId: string; childIds: string[]; result: LinkedResult }> {
  const specs =
    typeof children === "number" ? Array.from({ length: children }, () => linkedSpec()) : children;
  const jobs = [parent, ...specs].map((linked) => linkedJob(room, linked));
  const [runId, ...childIds] = jobs.map(({ jobId }) => jobId) as [string, ...string[]];
  const result = await room.ledger.submitLinked({
    type: "run",
    tenantId: 1,
    policy,
    stopGraceMs: 60_000,
    jobs,
    edges: edges.map(([from, to, isHard = true]) => ({
      jobId: childIds[from] as string,
      dependentId: childIds[to] as string,
      isHard,
    })),
    outerEdges: [],
  });
  return { runId, childIds, result };
}

export function addChildren(
  room: LedgerRoom,
  runId: string,
  jobs: readonly LinkedJob[],
  outerEdges: readonly Edge[] = [],
): Promise<LinkedResult> {
  return room.ledger.submitLinked({ type: "children", tenantId: 1, runId, jobs, edges: [], outerEdges });
}

/** States of a run's jobs, by id. */
export async function dagStates(room: LedgerRoom, jobId: string): Promise<Map<string, JobState>> {
  const page = await room.ledger.readDag(1, jobId, firstUuid, 100_000);
  return new Map(page?.nodes.map((node) => [node.jobId, node.state]));
}

/** What replays a job or a run, as it is now. */
export async function replayItem(
  ledger: Ledger,
  jobId: string,
  more: Partial<ReplayItem> = {},
): Promise<ReplayItem> {
  const source = await ledger.readReplaySource(1, jobId);
  if (!source) throw new Error(`${jobId} is not in the ledger`);
  return {
    tenantId: 1,
    requestId: uuidv7(),
    originalId: jobId,
    isRun: source.isRun,
    jobs: source.jobs.map((job) => ({ originalId: job.jobId, jobId: uuidv7(), laneId: job.laneId })),
    repeatsEffects: false,
    reason: "",
    requestedBy: "",
    ...more,
  };
}
