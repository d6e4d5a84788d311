import type { ChildOutcome, Job } from "@holdfast/gen/holdfast/v1/job_pb";

/** What the handler of a job returned. */
export type JobResult = {
  readonly bytes: Uint8Array;
  readonly contentType: string;
  text(): string;
  /** Throws when the result is no JSON. */
  json<Value = unknown>(): Value;
};

/**
 * The result of a job that ended well; undefined for every other job. Read the job with `get` or `waitFor`; a parent's
 * handler has its children's.
 */
export function resultOf(job: Job | ChildOutcome): JobResult | undefined {
  const outcome = job.outcome?.outcome;
  if (outcome?.case !== "success") return undefined;
  const { result: bytes, contentType } = outcome.value;
  const text = () => new TextDecoder().decode(bytes);
  return {
    bytes,
    contentType: contentType === "" ? "application/octet-stream" : contentType,
    text,
    json: <Value>(): Value => JSON.parse(text()),
  };
}
