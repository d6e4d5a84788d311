// Jobs between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type {
  AwaitedPlaceSchema,
  EventWindow as EventWindowMessage,
  EventWindowSchema,
  Fairness as FairnessMessage,
  FairnessSchema,
  InFlight as InFlightMessage,
  InFlightSchema,
  JobCauseSchema,
  JobEventSchema,
  JobNoteSchema,
  JobSchema,
  JobSpec as JobSpecMessage,
  OutcomeSchema,
  ProgressSchema,
  RetryPolicy as RetryPolicyMessage,
  Spend as SpendMessage,
  SpendSchema,
} from "@holdfast/gen/holdfast/v1/job_pb";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { FailureClass } from "../domain/failure-class.js";
import type { JobNote } from "../domain/job-note.js";
import {
  type EventWindow,
  type Fairness,
  type InFlight,
  InFlightPolicy,
  type JobOptions,
  type JobSpec,
  noFairness,
  Priority,
  type Spend,
  UniquePolicy,
} from "../domain/job-spec.js";
import type { JobEvent, JobView } from "../domain/job-view.js";
import type { Outcome } from "../domain/outcome.js";
import { defaultRetryPolicy, type RetryPolicy } from "../domain/retry.js";
import type { AwaitedPlace } from "../domain/wait.js";
import {
  checkBytes,
  checkCount,
  checkDuration,
  checkEnum,
  checkFairnessKey,
  checkInteger,
  checkKey,
  checkName,
  checkSource,
  checkText,
  checkTime,
  invalid,
} from "./check.js";
import { dayMs, type EdgeLimits } from "./limits.js";

/** @throws Fault INVALID_FIELD or PAYLOAD_TOO_LARGE, naming the field under `path` */
export function toJobSpec(message: JobSpecMessage, path: string, limits: EdgeLimits): JobSpec {
  const at = (field: string) => `${path}.${field}`;
  checkCount(at("capabilities"), message.capabilities.length, 0, 16);
  const capabilities = message.capabilities.map((name, index) =>
    checkName(at(`capabilities[${index}]`), name),
  );
  const retry = toRetryPolicy(message.retry, at("retry"));
  const idempotencyKey = checkText(at("idempotency_key"), message.idempotencyKey, 256);
  return {
    kind: checkName(at("kind"), message.kind),
    product: checkName(at("product"), message.product, "default"),
    queue: checkName(at("queue"), message.queue, "default"),
    priority: checkEnum(at("priority"), message.priority, Priority, Priority.Normal),
    capabilities: [...new Set(capabilities)].sort(),
    source: checkSource(at("source"), message.source),
    fairness: toFairness(message.fairness, at("fairness")),
    payload: checkBytes(at("payload"), message.payload, limits.payloadBytesMax, "payloadBytesMax"),
    contentType: checkText(at("content_type"), message.contentType, 128),
    idempotencyKey,
    runAtMs: checkTime(at("run_at"), message.runAt),
    deadlineMs: checkTime(at("deadline"), message.deadline),
    retry,
    options: toOptions(message, retry, idempotencyKey, at),
  };
}

function toOptions(
  message: JobSpecMessage,
  retry: RetryPolicy,
  idempotencyKey: string,
  at: (field: string) => string,
): JobOptions {
  const labels = toLabels(message.labels, at("labels"));
  const policy = checkEnum(
    at("disconnect_policy"),
    message.disconnectPolicy,
    disconnectPolicies,
    DisconnectPolicy.STOP,
  );
  const limitMs = checkDuration(at("disconnect_limit"), message.disconnectLimit, dayMs, 0);
  const { traceContext } = message;
  return {
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(message.retry && { retry }),
    ...(policy === DisconnectPolicy.FINISH_AND_REPORT && { finishAndReport: { limitMs } }),
    ...(traceContext?.traceparent && {
      traceContext: {
        traceparent: checkText(at("trace_context.traceparent"), traceContext.traceparent, 128),
        tracestate: checkText(at("trace_context.tracestate"), traceContext.tracestate, 512),
      },
    }),
    ...(idempotencyKey !== "" && { idempotencyKey }),
    ...(message.startBy && { startByMs: checkTime(at("start_by"), message.startBy) ?? 0 }),
    ...(message.inFlight && { inFlight: toInFlight(message.inFlight, at("in_flight")) }),
    ...(message.estimate && { estimate: toSpend(message.estimate, at("estimate")) }),
    ...(message.unique && {
      unique: {
        key: checkText(at("unique.key"), message.unique.key, 256, 1),
        policy: checkEnum(
          at("unique.policy"),
          message.unique.policy as number,
          UniquePolicy,
          UniquePolicy.Existing,
        ),
      },
    }),
    ...(message.window && { window: toEventWindow(message.window, at("window")) }),
  };
}

function toInFlight(message: InFlightMessage, path: string): InFlight {
  return {
    key: checkKey(`${path}.key`, message.key),
    jobsMax: message.max === 0 ? null : checkInteger(`${path}.max`, message.max, 1, 1_000_000),
    policy: checkEnum(`${path}.policy`, message.policy as number, InFlightPolicy, InFlightPolicy.Wait),
  };
}

/** A billion dollars. Amounts are whole numbers, and stay exact. */
export const amountMax = 1_000_000_000_000_000;

export function toSpend(message: SpendMessage, path: string): Spend {
  return {
    costMicroUsd: checkInteger(`${path}.cost_micro_usd`, message.costMicroUsd, 0, amountMax),
    tokens: checkInteger(`${path}.tokens`, message.tokens, 0, amountMax),
  };
}

export function toSpendMessage({ costMicroUsd, tokens }: Spend): MessageInitShape<typeof SpendSchema> {
  return { costMicroUsd: BigInt(costMicroUsd), tokens: BigInt(tokens) };
}

export function toInFlightMessage({
  key,
  jobsMax,
  policy,
}: InFlight): MessageInitShape<typeof InFlightSchema> {
  return { key, max: jobsMax ?? 0, policy: policy as number };
}

function toFairness(message: FairnessMessage | undefined, path: string): Fairness {
  if (!message) return noFairness;
  return {
    key: checkFairnessKey(`${path}.key`, message.key),
    weight: message.weight === 0 ? 1 : checkInteger(`${path}.weight`, message.weight, 1, 1000),
  };
}

/** The field, left out when the work is nobody's in particular. */
export function optionalFairness(fairness: Fairness): { fairness?: MessageInitShape<typeof FairnessSchema> } {
  return fairness.key === "" ? {} : { fairness: { key: fairness.key, weight: fairness.weight } };
}

/** @throws Fault INVALID_FIELD */
export function toEventWindow({ source, from, to }: EventWindowMessage, path: string): EventWindow {
  const fromMs = checkTime(`${path}.from`, from);
  const toMs = checkTime(`${path}.to`, to);
  if (fromMs === null) throw invalid(`${path}.from`, "is required");
  if (toMs === null || toMs <= fromMs) throw invalid(`${path}.to`, "must be after from");
  return { source: checkName(`${path}.source`, source), fromMs, toMs };
}

export function toWindowMessage({
  source,
  fromMs,
  toMs,
}: EventWindow): MessageInitShape<typeof EventWindowSchema> {
  return { source, ...optionalTime("from", fromMs), ...optionalTime("to", toMs) };
}

const disconnectPolicies = {
  stop: DisconnectPolicy.STOP,
  finish: DisconnectPolicy.FINISH_AND_REPORT,
} as const;

export function toLabels(labels: Readonly<Record<string, string>>, path: string): Record<string, string> {
  const entries = Object.entries(labels);
  checkCount(path, entries.length, 0, 100);
  for (const [key, value] of entries) {
    checkText(`${path} key`, key, 128, 1);
    checkText(`${path}[${key}]`, value, 1024);
  }
  return labels;
}

function toRetryPolicy(message: RetryPolicyMessage | undefined, path: string): RetryPolicy {
  if (!message) return defaultRetryPolicy;
  const { maxAttempts, factor } = message;
  if (factor !== 0 && !(factor >= 1 && factor <= 100))
    throw invalid(`${path}.factor`, "must be from 1 to 100");
  return {
    maxAttempts:
      maxAttempts === 0
        ? defaultRetryPolicy.maxAttempts
        : checkInteger(`${path}.max_attempts`, maxAttempts, 1, 1000),
    initialBackoffMs: checkDuration(
      `${path}.initial_backoff`,
      message.initialBackoff,
      dayMs,
      defaultRetryPolicy.initialBackoffMs,
    ),
    factor: factor === 0 ? defaultRetryPolicy.factor : factor,
    maxBackoffMs: checkDuration(
      `${path}.max_backoff`,
      message.maxBackoff,
      7 * dayMs,
      defaultRetryPolicy.maxBackoffMs,
    ),
    ...toPermanent(message, path),
  };
}

const failureCodeForm = /^[A-Z0-9_]{1,64}$/;

function toPermanent({ permanentCodes, permanentClasses }: RetryPolicyMessage, path: string) {
  checkCount(`${path}.permanent_codes`, permanentCodes.length, 0, 32);
  checkCount(`${path}.permanent_classes`, permanentClasses.length, 0, 32);
  for (const [at, code] of permanentCodes.entries())
    if (!failureCodeForm.test(code))
      throw invalid(`${path}.permanent_codes[${at}]`, "must be 1 to 64 characters of A-Z 0-9 _");
  const classes = permanentClasses.map((one, at) =>
    checkEnum(`${path}.permanent_classes[${at}]`, one as number, FailureClass, null),
  );
  return {
    ...(permanentCodes.length > 0 && { permanentCodes: [...new Set(permanentCodes)].sort() }),
    ...(classes.length > 0 && { permanentClasses: [...new Set(classes)].sort((a, b) => a - b) }),
  };
}

export function toJobMessage(job: JobView): MessageInitShape<typeof JobSchema> {
  return {
    id: job.jobId,
    product: job.product,
    queue: job.queue,
    kind: job.kind,
    priority: job.priority as number,
    capabilities: [...job.capabilities],
    labels: { ...job.options.labels },
    state: job.state as number,
    attempt: job.attempt,
    maxAttempts: job.attemptsMax,
    fencingToken: job.fencingToken,
    revision: job.revision,
    ...optionalTime("submittedAt", job.submittedAtMs),
    ...optionalTime("runAt", job.runAtMs),
    ...optionalTime("startedAt", job.startedAtMs),
    ...optionalTime("finishedAt", job.finishedAtMs),
    ...optionalTime("deadline", job.deadlineMs),
    sessionId: job.sessionId ?? "",
    ...(job.outcome && { outcome: toOutcomeMessage(job.outcome) }),
    ...(job.progress && { progress: toProgressMessage(job.progress) }),
    checkpointSequence: job.checkpointSequence,
    payload: job.payload as Uint8Array<ArrayBuffer>,
    contentType: job.contentType || defaultContentType,
    runId: job.runId ?? "",
    uniqueKey: job.options.unique?.key ?? "",
    ...optionalTime("startBy", job.options.startByMs ?? null),
    source: job.source,
    ...optionalFairness(job.fairness),
    ...(job.options.inFlight && { inFlight: toInFlightMessage(job.options.inFlight) }),
    ...(job.options.estimate && { estimate: toSpendMessage(job.options.estimate) }),
    causes: toCauses(job.options),
    ...(job.awaits && { awaits: toAwaitsMessage(job.awaits) }),
    ...(job.options.window && { window: toWindowMessage(job.options.window) }),
  };
}

function toAwaitsMessage(place: AwaitedPlace): MessageInitShape<typeof AwaitedPlaceSchema> {
  const { owner, channel, partition, afterSequence, sinceMs, timeoutAtMs } = place;
  return {
    owner,
    channel,
    partition,
    after: BigInt(afterSequence),
    ...optionalTime("since", sinceMs),
    ...optionalTime("timeoutAt", timeoutAtMs),
  };
}

/** What brought the job about, or back, beside its submitter. */
export function toCauses({ replay, compensates, retried }: JobOptions) {
  const causes: MessageInitShape<typeof JobCauseSchema>[] = [];
  if (replay) causes.push({ cause: { case: "replay", value: { replayId: replay.id, jobId: replay.jobId } } });
  if (compensates) causes.push({ cause: { case: "compensation", value: { jobId: compensates } } });
  if (retried) {
    const value = { ...optionalTime("at", retried.atMs), reason: retried.reason };
    causes.push({ cause: { case: "retry", value } });
  }
  return causes;
}

export const defaultContentType = "application/octet-stream";

/** A Timestamp field, left out when the time is not known. Whole milliseconds. */
export function optionalTime<Field extends string>(field: Field, ms: number | null) {
  return (ms === null ? {} : { [field]: timestampFromMs(Math.round(ms)) }) as {
    [F in Field]?: ReturnType<typeof timestampFromMs>;
  };
}

export function toNoteMessage(note: JobNote): MessageInitShape<typeof JobNoteSchema> {
  const { number, type, name, bytes, signals, producer } = note;
  return { number, type: type as number, name, bytes, signals, producer, ...optionalTime("at", note.atMs) };
}

export function toProgressMessage(
  progress: NonNullable<JobView["progress"]>,
): MessageInitShape<typeof ProgressSchema> {
  const { percent, message, at } = progress;
  return { percent, message, ...optionalTime("at", Date.parse(at)) };
}

export function toOutcomeMessage(outcome: Outcome): MessageInitShape<typeof OutcomeSchema> {
  switch (outcome.type) {
    case "success":
      return {
        outcome: {
          case: "success",
          value: {
            result: outcome.result as Uint8Array<ArrayBuffer>,
            contentType: outcome.contentType || defaultContentType,
          },
        },
      };
    case "failure": {
      const retryAfter: Duration | undefined =
        outcome.retryAfterMs > 0 ? durationFromMs(outcome.retryAfterMs) : undefined;
      const { code, message, permanent } = outcome;
      return {
        outcome: { case: "failure", value: { code, message, permanent, ...(retryAfter && { retryAfter }) } },
      };
    }
    case "cancelled":
      return { outcome: { case: "cancelled", value: { reason: outcome.reason } } };
  }
}

export function toEventMessage(event: JobEvent): MessageInitShape<typeof JobEventSchema> {
  return {
    id: event.eventId,
    jobId: event.jobId,
    type: event.type as number,
    state: event.state as number,
    revision: event.revision,
    attempt: event.attempt,
    fencingToken: event.fencingToken,
    sessionId: event.sessionId ?? "",
    reason: event.reason,
    ...optionalTime("at", event.atMs),
  };
}
