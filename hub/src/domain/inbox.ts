import { Fault } from "./fault.js";
import type { Fairness, JobOptions, JobSpec, Priority } from "./job-spec.js";
import { defaultRetryPolicy, type RetryPolicy } from "./retry.js";

/** What was submitted from SQL and is no job yet. */
export interface InboxEntry {
  /** Order in which it was submitted, roughly: transactions commit in another. */
  readonly position: number;
  /** The id that the job will have. */
  readonly jobId: string;
  readonly tenantId: number;
  readonly submittedAtMs: number;
  readonly kind: string;
  readonly product: string;
  readonly queue: string;
  readonly priority: Priority;
  readonly capabilities: readonly string[];
  readonly source: string;
  readonly fairness: Fairness;
  readonly labels: Readonly<Record<string, string>>;
  readonly idempotencyKey: string;
  readonly runAtMs: number | null;
  readonly deadlineMs: number | null;
  /** What was given of it; null: nothing. */
  readonly retry: Partial<RetryPolicy> | null;
  readonly contentType: string;
  /** What else there is; of an entry that a hub made, all options of the job. */
  readonly options: JobOptions;
  readonly payload: Uint8Array;
}

/** An entry as operators see it. */
export interface InboxView
  extends Omit<InboxEntry, "position" | "payload" | "retry" | "options" | "labels" | "tenantId"> {
  /** Database role that submitted it. */
  readonly submittedBy: string;
  readonly payloadBytes: number;
  /** Why hubs cannot adopt it, and since when. */
  readonly refusal: (InboxRefusal & { readonly atMs: number }) | null;
}

export interface InboxRefusal {
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * The job that an entry asks for: the same, down to its digest, as one submitted with the same fields by a call. SQL has
 * checked their form; what depends on a hub's configuration is checked here.
 */
export function specOfEntry(entry: InboxEntry, payloadBytesMax: number): JobSpec | Fault {
  if (entry.payload.length > payloadBytesMax)
    return new Fault(
      "PAYLOAD_TOO_LARGE",
      `The payload has ${entry.payload.length} bytes; the limit is ${payloadBytesMax}.`,
      { field: "payload", limit: "payloadBytesMax", value: String(payloadBytesMax) },
    );
  const retry = { ...defaultRetryPolicy, ...entry.retry, ...entry.options.retry };
  const { kind, product, queue, priority, source, fairness, payload, contentType, idempotencyKey, labels } =
    entry;
  return {
    kind,
    product,
    queue,
    priority,
    capabilities: [...new Set(entry.capabilities)].sort(),
    source,
    fairness,
    payload,
    contentType,
    idempotencyKey,
    runAtMs: entry.runAtMs,
    deadlineMs: entry.deadlineMs,
    retry,
    options: {
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(entry.retry && { retry }),
      ...(idempotencyKey !== "" && { idempotencyKey }),
      ...entry.options,
    },
  };
}
