// Jobs that a hub makes by itself, between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  DisconnectPolicy,
  type JobSpec as JobSpecMessage,
  type JobSpecSchema,
  Priority as PriorityMessage,
} from "@holdfast/gen/holdfast/v1/job_pb";
import type { JobTemplate } from "../domain/job-template.js";
import { checkCount, invalid } from "./check.js";
import { optionalFairness, toInFlightMessage, toJobSpec, toSpendMessage } from "./job-messages.js";
import type { EdgeLimits } from "./limits.js";

/** Room for the labels that a hub adds. */
const labelsMax = 90;

/** @throws Fault INVALID_FIELD or PAYLOAD_TOO_LARGE, naming the field under `path` */
export function toJobTemplate(
  message: JobSpecMessage | undefined,
  path: string,
  limits: EdgeLimits,
  defaultPriority: PriorityMessage = PriorityMessage.NORMAL,
): { readonly job: JobTemplate; readonly payload: Uint8Array } {
  if (!message) throw invalid(path, "is required");
  const notHere = {
    run_at: message.runAt,
    deadline: message.deadline,
    start_by: message.startBy,
    idempotency_key: message.idempotencyKey || undefined,
    unique: message.unique,
    window: message.window,
    depends_on: message.dependsOn[0],
    compensation: message.compensation,
  };
  for (const [field, value] of Object.entries(notHere))
    if (value !== undefined) throw invalid(`${path}.${field}`, "must not be set");
  checkCount(`${path}.labels`, Object.keys(message.labels).length, 0, labelsMax);
  const priority = message.priority || defaultPriority;
  const spec = toJobSpec({ ...message, priority }, path, limits);
  const { kind, product, queue, capabilities, source, fairness, contentType, payload, options } = spec;
  return {
    job: {
      kind,
      product,
      queue,
      priority: spec.priority,
      capabilities,
      source,
      fairness,
      contentType,
      options,
    },
    payload,
  };
}

export function toTemplateMessage(job: JobTemplate): MessageInitShape<typeof JobSpecSchema> {
  const { kind, product, queue, priority, capabilities, source, contentType } = job;
  const { labels, retry, finishAndReport, traceContext, inFlight, estimate } = job.options;
  return {
    kind,
    product,
    queue,
    priority: priority as number,
    capabilities: [...capabilities],
    source,
    ...optionalFairness(job.fairness),
    contentType,
    labels: { ...labels },
    ...(retry && {
      retry: {
        maxAttempts: retry.maxAttempts,
        initialBackoff: durationFromMs(retry.initialBackoffMs),
        factor: retry.factor,
        maxBackoff: durationFromMs(retry.maxBackoffMs),
        permanentCodes: [...(retry.permanentCodes ?? [])],
        permanentClasses: [...(retry.permanentClasses ?? [])] as number[],
      },
    }),
    ...(finishAndReport && {
      disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT,
      disconnectLimit: durationFromMs(finishAndReport.limitMs),
    }),
    ...(traceContext && { traceContext }),
    ...(inFlight && { inFlight: toInFlightMessage(inFlight) }),
    ...(estimate && { estimate: toSpendMessage(estimate) }),
  };
}
