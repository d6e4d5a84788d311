import { type JobSpec, noFairness } from "../../src/domain/job-spec.js";
import { defaultRetryPolicy } from "../../src/domain/retry.js";

/** A small job with every default, but for what a test is about. */
export function jobSpec(overrides: Partial<JobSpec> = {}): JobSpec {
  return {
    kind: "greet",
    product: "default",
    queue: "default",
    priority: 2,
    capabilities: [],
    source: "",
    fairness: noFairness,
    payload: Buffer.from("hello"),
    contentType: "",
    idempotencyKey: "",
    runAtMs: null,
    deadlineMs: null,
    retry: defaultRetryPolicy,
    options: {},
    ...overrides,
  };
}
