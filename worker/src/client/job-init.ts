import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  DependencyKind,
  type DependencySchema,
  DisconnectPolicy,
  FailureClass,
  InFlightPolicy,
  type JobSpecSchema,
  Priority,
  UniquePolicy,
} from "@holdfast/gen/holdfast/v1/job_pb";
import { formed, InvalidOptionsError, isRecord, type Problem, show, unknownFields } from "../option-check.js";

/** A job to submit. Only `kind` is required; the hub checks every field against its limits. */
export type JobInit = {
  /** Which handler runs it. */
  readonly kind: string;
  /** Bytes, text, or a value that is sent as JSON. Default none. */
  readonly payload?: Uint8Array | string | object;
  /** Media type of the payload. Default: what the payload's form says. */
  readonly contentType?: string;
  readonly product?: string;
  readonly queue?: string;
  readonly priority?: "low" | "normal" | "high" | "critical";
  /** What a worker must offer to run it. */
  readonly capabilities?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** The outside service that its handler calls: what throttles and breakers are kept for. */
  readonly source?: string;
  /** Whose share of the service it takes: keys are served by weight, 1 (the default) to 1000. */
  readonly fairness?: { readonly key: string; readonly weight?: number };
  /** Submitting again with the same key and content returns the first job (D2). */
  readonly idempotencyKey?: string;
  /**
   * At most one open job of the tenant has this key. When there is one: "existing" (the default) answers it, "refuse"
   * throws UNIQUE_KEY_HELD, "replace" cancels it and takes its place unless it has started.
   */
  readonly unique?: { readonly key: string; readonly policy?: "existing" | "refuse" | "replace" };
  /**
   * So many jobs that declare the key may be leased at once; without `max` as many as an operator allows. When there is no
   * place, "wait" (the default) lets the job wait; "refuse" throws IN_FLIGHT_FULL at the submit.
   */
  readonly inFlight?: { readonly key: string; readonly max?: number; readonly policy?: "wait" | "refuse" };
  /** What an attempt is expected to spend, in millionths of a US dollar and in tokens: held when it starts (D18). */
  readonly estimate?: { readonly costMicroUsd?: number; readonly tokens?: number };
  /** Not before this time. */
  readonly runAt?: Date;
  /** It must have been given to a worker by then. */
  readonly startBy?: Date;
  /** It must have ended by then. */
  readonly deadline?: Date;
  /** The event time that it is work for: done, for watermarks and backfills, in the commit of its success. */
  readonly window?: { readonly source: string; readonly from: Date; readonly to: Date };
  readonly retry?: {
    readonly maxAttempts?: number;
    readonly initialBackoffMs?: number;
    readonly factor?: number;
    readonly maxBackoffMs?: number;
    /** Codes of failures that are not retried. */
    readonly permanentCodes?: readonly string[];
    /** Classes of failures that are not retried, such as "parse-error". */
    readonly permanentClasses?: readonly FailureClassName[];
  };
  /** What a worker does with the running handler once it cannot be sure of its lease. Default "stop". */
  readonly disconnectPolicy?: "stop" | "finish-and-report";
  /** With "finish-and-report": for how long. Default: until it ends. */
  readonly disconnectLimitMs?: number;
  /** W3C trace context, handed to the handler. */
  readonly traceContext?: { readonly traceparent: string; readonly tracestate?: string };
  /** Jobs that must have ended before it starts. */
  readonly dependsOn?: readonly DependencyInit[];
  /** What undoes it. Default none. */
  readonly compensation?: {
    readonly job: JobInit;
    /** Also when it succeeded and its run fails. Default false. */
    readonly onRunFailure?: boolean;
  };
};

/** A job that another waits for, by one of its names. Soft: it only must have ended; else it must succeed. */
export type DependencyInit =
  | { readonly jobId: string; readonly soft?: boolean }
  | { readonly idempotencyKey: string; readonly soft?: boolean };
const failureClasses = {
  "rate-limited": FailureClass.RATE_LIMITED,
  "server-error": FailureClass.SERVER_ERROR,
  "client-error": FailureClass.CLIENT_ERROR,
  denied: FailureClass.DENIED,
  "not-found": FailureClass.NOT_FOUND,
  timeout: FailureClass.TIMEOUT,
  connection: FailureClass.CONNECTION,
  "schema-mismatch": FailureClass.SCHEMA_MISMATCH,
  "parse-error": FailureClass.PARSE_ERROR,
  exhausted: FailureClass.EXHAUSTED,
  deadline: FailureClass.DEADLINE,
  "worker-lost": FailureClass.WORKER_LOST,
  other: FailureClass.OTHER,
} as const;
export type FailureClassName = keyof typeof failureClasses;

const priorities = {
  low: Priority.LOW,
  normal: Priority.NORMAL,
  high: Priority.HIGH,
  critical: Priority.CRITICAL,
} as const;

const policies = {
  stop: DisconnectPolicy.STOP,
  "finish-and-report": DisconnectPolicy.FINISH_AND_REPORT,
} as const;

const uniquePolicies = {
  existing: UniquePolicy.EXISTING,
  refuse: UniquePolicy.REFUSE,
  replace: UniquePolicy.REPLACE,
} as const;

const inFlightPolicies = { wait: InFlightPolicy.WAIT, refuse: InFlightPolicy.REFUSE } as const;

const fields: ReadonlySet<string> = new Set<keyof JobInit>([
  "kind",
  "payload",
  "contentType",
  "product",
  "queue",
  "priority",
  "capabilities",
  "labels",
  "source",
  "fairness",
  "idempotencyKey",
  "unique",
  "inFlight",
  "estimate",
  "runAt",
  "deadline",
  "startBy",
  "window",
  "retry",
  "disconnectPolicy",
  "disconnectLimitMs",
  "traceContext",
  "dependsOn",
  "compensation",
]);

/**
 * The job as the wire says it.
 *
 * @throws InvalidOptionsError when a field cannot be put into the wire's terms at all
 */
export function jobSpec(job: JobInit, caller: string): MessageInitShape<typeof JobSpecSchema> {
  const problems = problemsOf(job);
  if (problems.length > 0) throw new InvalidOptionsError(caller, problems);
  const { payload, contentType } = encodePayload(job.payload);
  const { retry } = job;
  return {
    kind: job.kind,
    product: job.product ?? "",
    queue: job.queue ?? "",
    priority: job.priority === undefined ? Priority.UNSPECIFIED : priorities[job.priority],
    capabilities: [...(job.capabilities ?? [])],
    payload,
    contentType: job.contentType ?? contentType,
    labels: { ...job.labels },
    source: job.source ?? "",
    ...(job.fairness === undefined
      ? {}
      : { fairness: { key: job.fairness.key, weight: job.fairness.weight ?? 0 } }),
    idempotencyKey: job.idempotencyKey ?? "",
    disconnectPolicy:
      job.disconnectPolicy === undefined ? DisconnectPolicy.UNSPECIFIED : policies[job.disconnectPolicy],
    ...(job.unique === undefined
      ? {}
      : { unique: { key: job.unique.key, policy: uniquePolicies[job.unique.policy ?? "existing"] } }),
    ...(job.inFlight === undefined
      ? {}
      : {
          inFlight: {
            key: job.inFlight.key,
            max: job.inFlight.max ?? 0,
            policy: inFlightPolicies[job.inFlight.policy ?? "wait"],
          },
        }),
    ...(job.estimate === undefined
      ? {}
      : {
          estimate: {
            costMicroUsd: BigInt(job.estimate.costMicroUsd ?? 0),
            tokens: BigInt(job.estimate.tokens ?? 0),
          },
        }),
    ...(job.runAt === undefined ? {} : { runAt: timestampFromDate(job.runAt) }),
    ...(job.startBy === undefined ? {} : { startBy: timestampFromDate(job.startBy) }),
    ...(job.deadline === undefined ? {} : { deadline: timestampFromDate(job.deadline) }),
    ...(job.window === undefined
      ? {}
      : {
          window: {
            source: job.window.source,
            from: timestampFromDate(job.window.from),
            to: timestampFromDate(job.window.to),
          },
        }),
    ...(job.disconnectLimitMs === undefined
      ? {}
      : { disconnectLimit: durationFromMs(job.disconnectLimitMs) }),
    ...(job.traceContext === undefined ? {} : { traceContext: job.traceContext }),
    dependsOn: (job.dependsOn ?? []).map(dependency),
    ...(job.compensation === undefined
      ? {}
      : {
          compensation: {
            job: jobSpec(job.compensation.job, `${caller}, compensation`),
            onRunFailure: job.compensation.onRunFailure ?? false,
          },
        }),
    ...(retry === undefined
      ? {}
      : {
          retry: {
            maxAttempts: retry.maxAttempts ?? 0,
            factor: retry.factor ?? 0,
            permanentCodes: [...(retry.permanentCodes ?? [])],
            permanentClasses: (retry.permanentClasses ?? []).map((name) => failureClasses[name]),
            ...(retry.initialBackoffMs === undefined
              ? {}
              : { initialBackoff: durationFromMs(retry.initialBackoffMs) }),
            ...(retry.maxBackoffMs === undefined ? {} : { maxBackoff: durationFromMs(retry.maxBackoffMs) }),
          },
        }),
  };
}

function dependency(init: DependencyInit): MessageInitShape<typeof DependencySchema> {
  const kind = init.soft === true ? DependencyKind.SOFT : DependencyKind.HARD;
  return "jobId" in init
    ? { on: { case: "jobId", value: init.jobId }, kind }
    : { on: { case: "idempotencyKey", value: init.idempotencyKey }, kind };
}

function problemsOf(job: JobInit): Problem[] {
  if (!isRecord(job)) return [{ field: "job", rule: "an object", given: show(job) }];
  const date = (value: unknown) => value instanceof Date && !Number.isNaN(value.getTime());
  const milliseconds = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const text = (value: unknown) => typeof value === "string";
  const amount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const weight = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
  const window = (value: unknown) =>
    isRecord(value) && text(value.source) && date(value.from) && date(value.to);
  const dependencies = (value: unknown) =>
    Array.isArray(value) &&
    value.every((one) => isRecord(one) && (text(one.jobId) || text(one.idempotencyKey)));
  return [
    ...unknownFields(job, fields),
    ...formed("kind", job.kind, text, "a string", true),
    ...formed(
      "priority",
      job.priority,
      (value) => Object.hasOwn(priorities, String(value)),
      oneOf(priorities),
    ),
    ...formed(
      "disconnectPolicy",
      job.disconnectPolicy,
      (value) => Object.hasOwn(policies, String(value)),
      oneOf(policies),
    ),
    ...(job.unique === undefined ? [] : formed("unique.key", job.unique?.key, text, "a string", true)),
    ...formed(
      "unique.policy",
      job.unique?.policy,
      (value) => Object.hasOwn(uniquePolicies, String(value)),
      oneOf(uniquePolicies),
    ),
    ...(job.inFlight === undefined ? [] : formed("inFlight.key", job.inFlight?.key, text, "a string", true)),
    ...formed("inFlight.max", job.inFlight?.max, weight, "a whole number from 1 on"),
    ...formed(
      "inFlight.policy",
      job.inFlight?.policy,
      (value) => Object.hasOwn(inFlightPolicies, String(value)),
      oneOf(inFlightPolicies),
    ),
    ...formed("estimate.costMicroUsd", job.estimate?.costMicroUsd, amount, "a whole number"),
    ...formed("estimate.tokens", job.estimate?.tokens, amount, "a whole number"),
    ...formed("source", job.source, text, "a string"),
    ...(job.fairness === undefined ? [] : formed("fairness.key", job.fairness?.key, text, "a string", true)),
    ...formed("fairness.weight", job.fairness?.weight, weight, "a whole number from 1 on"),
    ...formed("runAt", job.runAt, date, "a valid Date"),
    ...formed("dependsOn", job.dependsOn, dependencies, "a list of { jobId } or { idempotencyKey }"),
    ...formed("compensation", job.compensation, isRecord, "{ job, onRunFailure }"),
    ...formed("deadline", job.deadline, date, "a valid Date"),
    ...formed("startBy", job.startBy, date, "a valid Date"),
    ...formed("window", job.window, window, "{ source, from, to } with valid Dates"),
    ...formed(
      "retry.permanentClasses",
      job.retry?.permanentClasses,
      (names) => Array.isArray(names) && names.every((name) => Object.hasOwn(failureClasses, String(name))),
      `a list of ${Object.keys(failureClasses).map(show).join(", ")}`,
    ),
    ...formed("disconnectLimitMs", job.disconnectLimitMs, milliseconds, "a whole number of milliseconds"),
    ...formed(
      "retry.initialBackoffMs",
      job.retry?.initialBackoffMs,
      milliseconds,
      "a whole number of milliseconds",
    ),
    ...formed("retry.maxBackoffMs", job.retry?.maxBackoffMs, milliseconds, "a whole number of milliseconds"),
  ];
}

function oneOf(names: object): string {
  return `one of ${Object.keys(names).map(show).join(", ")}`;
}

function encodePayload(payload: JobInit["payload"]): { payload: Uint8Array; contentType: string } {
  if (payload === undefined) return { payload: new Uint8Array(), contentType: "" };
  if (payload instanceof Uint8Array) return { payload, contentType: "application/octet-stream" };
  const isText = typeof payload === "string";
  const body = isText ? payload : JSON.stringify(payload);
  return {
    payload: new TextEncoder().encode(body),
    contentType: isText ? "text/plain; charset=utf-8" : "application/json",
  };
}
