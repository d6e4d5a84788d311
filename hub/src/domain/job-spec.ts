import { createHash } from "node:crypto";
import type { Dependency } from "./dependency.js";
import type { RetryPolicy } from "./retry.js";

/** What a submitter asks for, checked and with every default filled in. */
export interface JobSpec {
  readonly kind: string;
  readonly product: string;
  readonly queue: string;
  readonly priority: Priority;
  /** Sorted, without repetition. */
  readonly capabilities: readonly string[];
  /** What outside service the handler calls; empty means none. */
  readonly source: string;
  readonly fairness: Fairness;
  readonly payload: Uint8Array;
  /** Empty means application/octet-stream. */
  readonly contentType: string;
  /** Empty means none. */
  readonly idempotencyKey: string;
  readonly runAtMs: number | null;
  readonly deadlineMs: number | null;
  readonly retry: RetryPolicy;
  readonly options: JobOptions;
}

/** Whose share of the service a job takes. */
export interface Fairness {
  /** Empty: nobody's in particular. */
  readonly key: string;
  /** Share relative to other keys', 1 to 1000; 1 without a key. */
  readonly weight: number;
}

export const noFairness: Fairness = { key: "", weight: 1 };

/** What only the worker or a reader looks at; kept as one JSON value beside the job, absent when empty. */
export interface JobOptions {
  readonly labels?: Readonly<Record<string, string>>;
  /** Only when it differs from the default. */
  readonly retry?: RetryPolicy;
  readonly finishAndReport?: { readonly limitMs: number };
  readonly traceContext?: { readonly traceparent: string; readonly tracestate: string };
  readonly idempotencyKey?: string;
  /** Whether its end concerns other jobs, as far as was known when it was submitted; a parent gets their outcomes. */
  readonly run?: "parent" | "member";
  /** It must have been granted by then; milliseconds since 1970. */
  readonly startByMs?: number;
  /** So many jobs of the tenant that declare the key may be in flight at once. */
  readonly inFlight?: InFlight;
  /** What an attempt is expected to spend: held when it starts. */
  readonly estimate?: Spend;
  /** At most one open job of the tenant has this key. */
  readonly unique?: { readonly key: string; readonly policy: UniquePolicy };
  /** It repeats a job; the origin is the one that was submitted first, over any number of replays. */
  readonly replay?: { readonly id: string; readonly jobId: string; readonly originId: string };
  /** The job that it undoes. */
  readonly compensates?: string;
  /** The newest time that an operator sent it back from the dead letters. */
  readonly retried?: { readonly atMs: number; readonly reason: string };
  /** The event time that it is work for. The ledger's triggers read it. */
  readonly window?: EventWindow & {
    /** The backfill that made it. */
    readonly backfillId?: string;
  };
}

/** From `fromMs`, inclusive, to `toMs`, exclusive; milliseconds since 1970. */
export interface EventWindow {
  readonly source: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** A key whose jobs share a number of places, say a customer's. */
export interface InFlight {
  readonly key: string;
  /** null: as many as an operator allows. */
  readonly jobsMax: number | null;
  readonly policy: InFlightPolicy;
}

/** What becomes of a job when its key has no place left. The numbers are stored and sent. */
export const InFlightPolicy = {
  Wait: 1,
  /** The submit is refused. */
  Refuse: 2,
} as const;
export type InFlightPolicy = (typeof InFlightPolicy)[keyof typeof InFlightPolicy];

/** Money and tokens, in whole numbers. */
export interface Spend {
  /** Millionths of a US dollar. */
  readonly costMicroUsd: number;
  readonly tokens: number;
}

/** A job that waits for others, or that another one undoes. */
export interface LinkedSpec {
  readonly spec: JobSpec;
  readonly dependsOn: readonly Dependency[];
  readonly compensation: CompensationSpec | null;
}

/** What undoes a job. */
export interface CompensationSpec {
  readonly spec: JobSpec;
  /** Also when the job succeeded and its run fails. */
  readonly onRunFailure: boolean;
}

/** What a submit does when an open job has its unique key. The numbers are stored and sent. */
export const UniquePolicy = {
  /** Answers that job. */
  Existing: 1,
  Refuse: 2,
  /** Cancels that job if it has not started, and takes its place; else answers it. */
  Replace: 3,
} as const;
export type UniquePolicy = (typeof UniquePolicy)[keyof typeof UniquePolicy];

/** Priority class, also its order: a higher one scores higher. The numbers are stored and sent. */
export const Priority = { Low: 1, Normal: 2, High: 3, Critical: 4 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

/**
 * Digest of everything that makes two submits "the same content" (D2): all fields but the idempotency key and
 * the trace context, which differs from try to try.
 */
export function contentDigest(spec: JobSpec): Buffer {
  const { traceContext: _trace, idempotencyKey: _key, ...options } = spec.options;
  const labels = Object.entries(options.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const described = JSON.stringify([
    spec.kind,
    spec.product,
    spec.queue,
    spec.priority,
    spec.capabilities,
    spec.contentType,
    spec.runAtMs,
    spec.deadlineMs,
    [spec.retry.maxAttempts, spec.retry.initialBackoffMs, spec.retry.factor, spec.retry.maxBackoffMs],
    options.finishAndReport?.limitMs ?? null,
    labels,
    ...(spec.retry.permanentCodes || spec.retry.permanentClasses
      ? [["permanent", spec.retry.permanentCodes ?? [], spec.retry.permanentClasses ?? []]]
      : []),
    ...(options.startByMs === undefined ? [] : [["startBy", options.startByMs]]),
    ...(options.unique ? [[options.unique.key, options.unique.policy]] : []),
    ...(options.inFlight
      ? [["inFlight", options.inFlight.key, options.inFlight.jobsMax, options.inFlight.policy]]
      : []),
    ...(options.estimate ? [["estimate", options.estimate.costMicroUsd, options.estimate.tokens]] : []),
    ...(spec.source === "" ? [] : [["source", spec.source]]),
    ...(spec.fairness.key === "" ? [] : [["fairness", spec.fairness.key, spec.fairness.weight]]),
    ...(options.window
      ? [["window", options.window.source, options.window.fromMs, options.window.toMs]]
      : []),
  ]);
  return createHash("sha256").update(described).update("\0").update(spec.payload).digest();
}

/** The same for a linked job and, of a parent, for its children and what else makes its run. */
export function linkedDigest(
  job: LinkedSpec,
  children: readonly LinkedSpec[],
  run: readonly number[],
): Buffer {
  const { compensation } = job;
  const digest = createHash("sha256").update(contentDigest(job.spec));
  digest.update(JSON.stringify([job.dependsOn, compensation?.onRunFailure ?? null, run]));
  if (compensation) digest.update(contentDigest(compensation.spec));
  for (const child of children) digest.update(linkedDigest(child, [], [])).update(child.spec.idempotencyKey);
  return digest.digest();
}
