// Runs between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ChildOutcomeSchema,
  type ChildOutcomesSchema,
  DependencyKind,
  type Dependency as DependencyMessage,
  type JobSpec as JobSpecMessage,
} from "@holdfast/gen/holdfast/v1/job_pb";
import type { DagNodeSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { Dependency, DependencyTarget } from "../domain/dependency.js";
import type { CompensationSpec, LinkedSpec } from "../domain/job-spec.js";
import type { ChildOutcome, ChildrenPage, DagNode } from "../domain/run-view.js";
import { checkCount, checkEnum, checkText, checkUuid, invalid } from "./check.js";
import { optionalTime, toCauses, toJobSpec, toOutcomeMessage } from "./job-messages.js";
import type { EdgeLimits } from "./limits.js";
import { encodePageToken } from "./page-token.js";

const dependenciesMax = 1_000;
const kinds = { hard: DependencyKind.HARD, soft: DependencyKind.SOFT } as const;

/** What only jobs that stand alone can have. */
const aloneOnly = "must not be set for a job that depends on others, is compensated or belongs to a run";

/** Whether a job concerns others: the way of plain jobs is shorter. */
export function isLinked(message: JobSpecMessage): boolean {
  return message.dependsOn.length > 0 || message.compensation !== undefined;
}

/** @throws Fault INVALID_FIELD or PAYLOAD_TOO_LARGE, naming the field under `path` */
export function toLinkedSpec(message: JobSpecMessage, path: string, limits: EdgeLimits): LinkedSpec {
  const { dependsOn } = message;
  if (message.unique) throw invalid(`${path}.unique`, aloneOnly);
  if (message.startBy) throw invalid(`${path}.start_by`, aloneOnly);
  checkCount(`${path}.depends_on`, dependsOn.length, 0, dependenciesMax);
  const targets = dependsOn.map((one) => `${one.on.case}/${one.on.value}`);
  if (new Set(targets).size < targets.length) throw invalid(`${path}.depends_on`, "must name each job once");
  return {
    spec: toJobSpec(message, path, limits),
    dependsOn: dependsOn.map((one, at) => toDependency(one, `${path}.depends_on[${at}]`)),
    compensation: toCompensation(message, `${path}.compensation`, limits),
  };
}

/** Jobs of one call; each key names one of them. */
export function toLinkedSpecs(
  messages: readonly JobSpecMessage[],
  path: string,
  limits: EdgeLimits,
): LinkedSpec[] {
  const specs = messages.map((message, at) => toLinkedSpec(message, `${path}[${at}]`, limits));
  const keys = specs.map(({ spec }) => spec.idempotencyKey).filter((key) => key !== "");
  if (new Set(keys).size < keys.length) throw invalid(path, "must have each idempotency_key once");
  return specs;
}

function toDependency(message: DependencyMessage, path: string): Dependency {
  const kind = checkEnum(`${path}.kind`, message.kind, kinds, DependencyKind.HARD);
  return { on: toTarget(message.on, path), isHard: kind === DependencyKind.HARD };
}

function toTarget(on: DependencyMessage["on"], path: string): DependencyTarget {
  switch (on.case) {
    case "jobId":
      return { type: "job", jobId: checkUuid(`${path}.job_id`, on.value) };
    case "idempotencyKey":
      return { type: "key", key: checkText(`${path}.idempotency_key`, on.value, 256, 1) };
    case undefined:
      throw invalid(path, "must name a job");
  }
}

function toCompensation(message: JobSpecMessage, path: string, limits: EdgeLimits): CompensationSpec | null {
  const { compensation } = message;
  if (!compensation) return null;
  const { job, onRunFailure } = compensation;
  if (!job) throw invalid(`${path}.job`, "is required");
  if (job.unique) throw invalid(`${path}.job.unique`, aloneOnly);
  if (job.startBy) throw invalid(`${path}.job.start_by`, aloneOnly);
  if (isLinked(job) || job.runAt || job.deadline || job.idempotencyKey)
    throw invalid(
      `${path}.job`,
      "must have neither depends_on, compensation, run_at, deadline nor idempotency_key",
    );
  return { spec: toJobSpec(job, `${path}.job`, limits), onRunFailure };
}

export function toDagNode(node: DagNode): MessageInitShape<typeof DagNodeSchema> {
  return {
    jobId: node.jobId,
    kind: node.kind,
    idempotencyKey: node.idempotencyKey,
    state: node.state as number,
    isChild: node.isChild,
    dependsOn: node.dependsOn.map(({ jobId, isHard }) => ({
      on: { case: "jobId", value: jobId },
      kind: isHard ? DependencyKind.HARD : DependencyKind.SOFT,
    })),
    waitsFor: node.waitsFor,
    attempt: node.attempt,
    ...optionalTime("submittedAt", node.submittedAtMs),
    ...optionalTime("startedAt", node.startedAtMs),
    ...optionalTime("finishedAt", node.finishedAtMs),
    failureCode: node.failureCode,
    compensationJobId: node.compensationJobId,
    causes: toCauses(node.options),
  };
}

export function toChildMessage(child: ChildOutcome): MessageInitShape<typeof ChildOutcomeSchema> {
  const { jobId, idempotencyKey, kind, state, outcome } = child;
  return {
    jobId,
    idempotencyKey,
    kind,
    state: state as number,
    ...(outcome && { outcome: toOutcomeMessage(outcome) }),
  };
}

/** What a token of ListChildren is about: leases hand them out too. */
export function listedChildren(parentId: string): unknown {
  return ["children", parentId];
}

export function toChildrenMessage(
  parentId: string,
  page: ChildrenPage,
): MessageInitShape<typeof ChildOutcomesSchema> {
  return {
    total: page.total,
    outcomes: page.children.map(toChildMessage),
    nextPageToken: page.nextAfterId ? encodePageToken(page.nextAfterId, listedChildren(parentId)) : "",
  };
}
