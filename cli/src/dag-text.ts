import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Dependency, DependencyKind } from "@holdfast/gen/holdfast/v1/job_pb";
import type { DagNode, GetDagResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { formatElapsed } from "./elapsed.js";
import { causesText, paintedState } from "./job-text.js";
import { failurePolicyWord, stateWord } from "./job-words.js";
import type { Paint } from "./paint.js";

/** Deeper jobs are not indented any further; their line says how deep they are. */
const INDENTED_DEPTH_MAX = 12;

export type Dag = Pick<GetDagResponse, "runId" | "failurePolicy" | "jobs" | "childrenFailed" | "nodes">;

/**
 * A run as a tree: each job stands below the last of those that it waits for, a child without any below its parent,
 * so that who stands higher ends earlier. What else a job waits for is said on its line.
 */
export function dagText(dag: Dag, nowMs: number, paint: Paint): string {
  const below = new Map<string, DagNode[]>();
  const known = new Set(dag.nodes.map((node) => node.jobId));
  for (const node of dag.nodes) {
    const upper = upperOf(node, dag.runId, known);
    below.set(upper, [...(below.get(upper) ?? []), node]);
  }
  const lines = [headline(dag, paint)];
  // An explicit stack: a chain may be longer than the stack of calls.
  const open = (below.get("") ?? []).map((node) => ({ node, depth: 0 })).reverse();
  for (let next = open.pop(); next; next = open.pop()) {
    const { node, depth } = next;
    lines.push(`${indent(depth, paint)}${nodeText(node, nowMs, paint)}`);
    for (const lower of (below.get(node.jobId) ?? []).toReversed())
      open.push({ node: lower, depth: depth + 1 });
  }
  return lines.join("\n");
}

function upperOf(node: DagNode, runId: string, known: ReadonlySet<string>): string {
  const last = node.dependsOn.map(dependencyId).findLast((jobId) => known.has(jobId));
  return last ?? (node.isChild && known.has(runId) ? runId : "");
}

function headline({ runId, failurePolicy, jobs, childrenFailed, nodes }: Dag, paint: Paint): string {
  const counts = new Map<string, number>();
  for (const { state } of nodes) counts.set(stateWord(state), (counts.get(stateWord(state)) ?? 0) + 1);
  return [
    `run ${paint.strong(runId)}`,
    ...(failurePolicy === 0 ? [] : [failurePolicyWord(failurePolicy)]),
    `${jobs} ${jobs === 1 ? "job" : "jobs"}: ${[...counts].map(([word, count]) => `${count} ${word}`).join(", ")}`,
    ...(childrenFailed === 0
      ? []
      : [paint.bad(`${childrenFailed} ${childrenFailed === 1 ? "child" : "children"} failed`)]),
  ].join("  ");
}

function indent(depth: number, paint: Paint): string {
  if (depth === 0) return "";
  const shown = "  ".repeat(Math.min(depth, INDENTED_DEPTH_MAX) - 1);
  return paint.faint(depth > INDENTED_DEPTH_MAX ? `${shown}└ (${depth}) ` : `${shown}└ `);
}

function nodeText(node: DagNode, nowMs: number, paint: Paint): string {
  const others = node.dependsOn.slice(0, -1).map((dependency) => {
    const isSoft = dependency.kind === DependencyKind.SOFT;
    return `${dependencyId(dependency).slice(-12)}${isSoft ? " (soft)" : ""}`;
  });
  return [
    paintedState(node.state, paint),
    node.kind,
    node.jobId,
    ...(node.idempotencyKey === "" ? [] : [node.idempotencyKey]),
    ...timesOf(node, nowMs),
    ...(node.failureCode === "" ? [] : [paint.bad(node.failureCode)]),
    ...(node.waitsFor === 0 ? [] : [paint.faint(`waits for ${node.waitsFor}`)]),
    ...(others.length === 0 ? [] : [paint.faint(`also after …${others.slice(0, 3).join(", …")}`)]),
    ...causesOf(node, nowMs),
    ...(node.compensationJobId === "" ? [] : [paint.warn(`compensated by ${node.compensationJobId}`)]),
  ].join("  ");
}

function causesOf({ causes }: DagNode, nowMs: number): string[] {
  const text = causesText(causes, nowMs);
  return text === undefined ? [] : [text];
}

function timesOf({ startedAt, finishedAt, attempt }: DagNode, nowMs: number): string[] {
  if (startedAt === undefined) return [];
  const endMs = finishedAt === undefined ? nowMs : timestampMs(finishedAt);
  const took = formatElapsed(Math.max(endMs - timestampMs(startedAt), 0));
  const words = finishedAt === undefined ? `for ${took}` : `in ${took}`;
  return [attempt > 1 ? `${words}, attempt ${attempt}` : words];
}

function dependencyId({ on }: Dependency): string {
  return on.value ?? "";
}
