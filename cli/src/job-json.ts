import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Job, JobSchema } from "@holdfast/gen/holdfast/v1/job_pb";

/** Fields at their default are written too, so that every job has the same shape. */
export const JSON_OPTIONS = { alwaysEmitImplicit: true } as const;

/**
 * A job as the protocol's JSON writes it (bytes in base64), with two fields beside it for people and jq:
 * `payloadValue` and `resultValue`, the payload and result read according to their content type, where that is
 * JSON or text.
 */
export function jobJson(job: Job): JsonObject {
  const value = toJson(JobSchema, job, JSON_OPTIONS) as JsonObject;
  const payload = readable(job.payload, job.contentType);
  if (payload !== undefined) {
    value.payloadValue = payload;
  }
  const outcome = job.outcome?.outcome;
  const result =
    outcome?.case === "success" ? readable(outcome.value.result, outcome.value.contentType) : undefined;
  if (result !== undefined) {
    value.resultValue = result;
  }
  return value;
}

/** Bytes as a JSON value or text; undefined when there are none, or they are neither. */
export function readable(bytes: Uint8Array, contentType: string): JsonValue | undefined {
  if (bytes.byteLength === 0) {
    return undefined;
  }
  const text = Buffer.from(bytes).toString();
  if (/^application\/(.+\+)?json\b/.test(contentType)) {
    try {
      return JSON.parse(text) as JsonValue;
    } catch {
      return text;
    }
  }
  return contentType.startsWith("text/") ? text : undefined;
}
