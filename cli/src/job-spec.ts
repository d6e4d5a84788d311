import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  DependencyKind,
  type DisconnectPolicy,
  EventWindowSchema,
  type FailureClass,
  FairnessSchema,
  type InFlightPolicy,
  InFlightSchema,
  type JobSpec,
  JobSpecSchema,
  type Priority,
  RetryPolicySchema,
  SpendSchema,
  UniqueKeySchema,
  type UniquePolicy,
} from "@holdfast/gen/holdfast/v1/job_pb";
import type { Labels } from "./arguments/label.js";
import type { Payload } from "./arguments/payload.js";
import type { WindowOf } from "./arguments/window.js";

/** What may be said about a job beside its kind and payload; what is absent gets the hub's default. */
export interface JobFields {
  readonly queue?: string;
  readonly product?: string;
  readonly priority?: Priority;
  readonly capabilities?: readonly string[];
  readonly labels?: Labels;
  readonly source?: string;
  readonly fairnessKey?: string;
  readonly fairnessWeight?: number;
  readonly idempotencyKey?: string;
  readonly inFlightKey?: string;
  readonly inFlightMax?: number;
  readonly inFlightPolicy?: InFlightPolicy;
  readonly estimateCost?: bigint;
  readonly estimateTokens?: number;
  readonly uniqueKey?: string;
  readonly uniquePolicy?: UniquePolicy;
  readonly runAt?: Date;
  readonly startBy?: Date;
  readonly deadline?: Date;
  readonly maxAttempts?: number;
  readonly initialBackoffMs?: number;
  readonly backoffFactor?: number;
  readonly maxBackoffMs?: number;
  readonly permanentCodes?: readonly string[];
  readonly permanentClasses?: readonly FailureClass[];
  readonly disconnectPolicy?: DisconnectPolicy;
  readonly disconnectLimitMs?: number;
  /** The event time that it is work for. */
  readonly window?: WindowOf;
  /** Jobs, by id or idempotency key, that must have succeeded before this one starts. */
  readonly after?: readonly string[];
  /** The same; it is enough that they have ended. */
  readonly afterEnded?: readonly string[];
}

export function jobSpec(kind: string, payload: Payload | undefined, fields: JobFields): JobSpec {
  const spec = create(JobSpecSchema, {
    kind,
    product: fields.product ?? "",
    queue: fields.queue ?? "",
    priority: fields.priority ?? 0,
    capabilities: [...(fields.capabilities ?? [])],
    labels: { ...fields.labels },
    source: fields.source ?? "",
    idempotencyKey: fields.idempotencyKey ?? "",
    disconnectPolicy: fields.disconnectPolicy ?? 0,
    dependsOn: [
      ...(fields.after ?? []).map((name) => ({ on: target(name), kind: DependencyKind.HARD })),
      ...(fields.afterEnded ?? []).map((name) => ({ on: target(name), kind: DependencyKind.SOFT })),
    ],
  });
  if (payload !== undefined) {
    spec.payload = payload.bytes;
    spec.contentType = payload.contentType;
  }
  if (fields.uniqueKey !== undefined) {
    spec.unique = create(UniqueKeySchema, { key: fields.uniqueKey, policy: fields.uniquePolicy ?? 0 });
  }
  if (fields.inFlightKey !== undefined) {
    const { inFlightKey: key, inFlightMax: max = 0, inFlightPolicy: policy = 0 } = fields;
    spec.inFlight = create(InFlightSchema, { key, max, policy });
  }
  if (fields.estimateCost !== undefined || fields.estimateTokens !== undefined) {
    const { estimateCost: costMicroUsd = 0n, estimateTokens: tokens = 0 } = fields;
    spec.estimate = create(SpendSchema, { costMicroUsd, tokens: BigInt(tokens) });
  }
  const { fairnessKey, fairnessWeight } = fields;
  if (fairnessKey !== undefined || fairnessWeight !== undefined) {
    spec.fairness = create(FairnessSchema, { key: fairnessKey ?? "", weight: fairnessWeight ?? 0 });
  }
  if (fields.runAt !== undefined) {
    spec.runAt = timestampFromDate(fields.runAt);
  }
  if (fields.startBy !== undefined) {
    spec.startBy = timestampFromDate(fields.startBy);
  }
  if (fields.deadline !== undefined) {
    spec.deadline = timestampFromDate(fields.deadline);
  }
  if (fields.disconnectLimitMs !== undefined) {
    spec.disconnectLimit = durationFromMs(fields.disconnectLimitMs);
  }
  if (fields.window !== undefined) {
    const { source, from, to } = fields.window;
    spec.window = create(EventWindowSchema, {
      source,
      from: timestampFromDate(from),
      to: timestampFromDate(to),
    });
  }
  const retry = retryPolicy(fields);
  if (retry !== undefined) {
    spec.retry = retry;
  }
  return spec;
}

const JOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What has the form of an id is one; anything else is an idempotency key. */
function target(name: string) {
  return { case: JOB_ID.test(name) ? "jobId" : "idempotencyKey", value: name } as const;
}

function retryPolicy(fields: JobFields): JobSpec["retry"] {
  const { maxAttempts, initialBackoffMs, backoffFactor, maxBackoffMs } = fields;
  const { permanentCodes, permanentClasses } = fields;
  const given = [
    maxAttempts,
    initialBackoffMs,
    backoffFactor,
    maxBackoffMs,
    permanentCodes,
    permanentClasses,
  ];
  if (given.every((value) => value === undefined)) {
    return undefined;
  }
  return create(RetryPolicySchema, {
    permanentCodes: [...(permanentCodes ?? [])],
    permanentClasses: [...(permanentClasses ?? [])],
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
    ...(initialBackoffMs === undefined ? {} : { initialBackoff: durationFromMs(initialBackoffMs) }),
    ...(backoffFactor === undefined ? {} : { factor: backoffFactor }),
    ...(maxBackoffMs === undefined ? {} : { maxBackoff: durationFromMs(maxBackoffMs) }),
  });
}
