// What the end of a job does to the run that it belongs to. The ledger repeats these rules in one set-based statement
// (hub/src/ledger/advance-runs.ts); tests hold the two to the same answers.
//
// Invariants
//  1. Each job of a run is counted once, by the terminal state that it reached. A dead letter that is sent back is open
//     again, and counted when it ends once more.
//  2. A job is released when the last of what it waits for was counted, and never before.
//  3. Who waits hard for a job that did not succeed does not start, unless it is sent back itself: then it waits no more.
//  4. A parent starts or fails once all its children were counted; never while one of them may still run.
import { isTerminal, JobState } from "./job-state.js";

/** What becomes of a parent and its other children when one ends without success. The numbers are stored and sent. */
export const RunPolicy = { FailFast: 1, Continue: 2, WaitForAll: 3 } as const;
export type RunPolicy = (typeof RunPolicy)[keyof typeof RunPolicy];

/** Codes of failures of jobs that never started. */
export const dependencyFailedCode = "DEPENDENCY_FAILED";
export const childFailedCode = "CHILD_FAILED";

export interface RunNode {
  readonly jobId: string;
  /** Whether the run's first job waits for it. */
  readonly isChild: boolean;
  readonly dependsOn: readonly { readonly jobId: string; readonly isHard: boolean }[];
  readonly state: JobState;
  readonly endedAs: JobState | null;
}

export interface Run {
  /** The run's first job; with a policy, the parent. */
  readonly runId: string;
  readonly policy: RunPolicy | null;
  readonly isStopping: boolean;
  readonly nodes: ReadonlyMap<string, RunNode>;
}

/** What is to be done to a job that has not ended itself. */
export type RunAct = "release" | "fail" | "cancel" | "ask_to_stop";

export interface RunStep {
  readonly acts: ReadonlyMap<string, RunAct>;
  /** The run with every end counted; acts are not applied to states of jobs that stay open. */
  readonly run: Run;
}

/** Counts jobs that have ended and says what follows. Acts that end jobs are counted too; the parent's end is not. */
export function advanceRun(run: Run): RunStep {
  const ended = [...run.nodes.values()].filter((node) => node.endedAs === null && isTerminal(node.state));
  const counted = new Map(ended.map((node) => [node.jobId, node.state]));
  const acts = new Map<string, RunAct>();
  const isOpen = (node: RunNode) => node.endedAs === null && !counted.has(node.jobId);

  const isStopping = !run.isStopping && mustStop(run, ended);
  if (isStopping)
    for (const node of run.nodes.values()) {
      if (!node.isChild || !isOpen(node)) continue;
      acts.set(node.jobId, node.state === JobState.Leased ? "ask_to_stop" : "cancel");
      if (node.state !== JobState.Leased) counted.set(node.jobId, JobState.Cancelled);
    }

  for (const node of doomed(run, counted)) {
    if (!isOpen(node)) continue;
    acts.set(node.jobId, "fail");
    counted.set(node.jobId, JobState.Dead);
  }

  const nodes = new Map(
    [...run.nodes].map(([jobId, node]) => [
      jobId,
      { ...node, endedAs: node.endedAs ?? counted.get(jobId) ?? null },
    ]),
  );
  const next = { ...run, isStopping: run.isStopping || isStopping, nodes };
  for (const node of nodes.values())
    if (node.endedAs === null && node.state === JobState.Blocked && waitsFor(next, node) === 0)
      acts.set(node.jobId, node.jobId === run.runId && hasFailed(next) ? "fail" : "release");
  return { acts, run: next };
}

/** The run with a dead letter that was sent back. Who waits for it waits again; who has started or ended does not. */
export function reopenNode(run: Run, jobId: string): Run {
  const node = run.nodes.get(jobId);
  if (!node) return run;
  return { ...run, nodes: new Map(run.nodes).set(jobId, { ...node, state: JobState.Ready, endedAs: null }) };
}

/** How many of those that a job waits for have not been counted. */
export function waitsFor(run: Run, node: RunNode): number {
  const isOpen = (jobId: string) => run.nodes.get(jobId)?.endedAs === null;
  const children =
    node.jobId === run.runId && run.policy !== null
      ? [...run.nodes.values()].filter((other) => other.isChild && other.endedAs === null).length
      : 0;
  return children + node.dependsOn.filter(({ jobId }) => isOpen(jobId)).length;
}

function mustStop(run: Run, ended: readonly RunNode[]): boolean {
  if (run.policy === null) return false;
  return ended.some(
    (node) =>
      node.state !== JobState.Succeeded &&
      (node.jobId === run.runId || (node.isChild && run.policy === RunPolicy.FailFast)),
  );
}

function hasFailed(run: Run): boolean {
  if (run.policy === null || run.policy === RunPolicy.Continue) return false;
  return [...run.nodes.values()].some(
    (node) => node.isChild && node.endedAs !== null && node.endedAs !== JobState.Succeeded,
  );
}

/** Everybody who still waits, hard and over any number of others, for one of these that did not succeed. */
function doomed(run: Run, counted: ReadonlyMap<string, JobState>): RunNode[] {
  const dependents = new Map<string, RunNode[]>();
  for (const node of run.nodes.values())
    for (const { jobId, isHard } of node.dependsOn)
      if (isHard && node.state === JobState.Blocked)
        dependents.set(jobId, [...(dependents.get(jobId) ?? []), node]);
  const lost = [...counted].filter(([, state]) => state !== JobState.Succeeded).map(([jobId]) => jobId);
  const found = new Map<string, RunNode>();
  for (let jobId = lost.pop(); jobId !== undefined; jobId = lost.pop())
    for (const node of dependents.get(jobId) ?? []) {
      if (found.has(node.jobId)) continue;
      found.set(node.jobId, node);
      lost.push(node.jobId);
    }
  return [...found.values()];
}
