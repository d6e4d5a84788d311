import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobFailure, type RevokeCause } from "../job-errors.js";

/** Limits of the wire; what is longer is cut. */
const failureCodeMax = 64;
const failureMessageBytesMax = 4096;
const cancelReasonBytesMax = 1024;

/** What a handler returned, ready to be reported. */
export type EncodedValue = {
  readonly body: string | Uint8Array;
  readonly length: number;
  readonly contentType: string;
};

const nothing: EncodedValue = { body: "", length: 0, contentType: "" };

/** Encodes what a handler returned; throws a JobFailure when that cannot be done. */
export function encodeValue(value: unknown): EncodedValue {
  if (value === undefined) return nothing;
  if (typeof value === "string") return text(value, "text/plain; charset=utf-8");
  if (value instanceof Uint8Array) {
    return { body: value, length: value.length, contentType: "application/octet-stream" };
  }
  return text(toJson(value), "application/json");
}

function text(body: string, contentType: string): EncodedValue {
  return { body, length: Buffer.byteLength(body), contentType };
}

function toJson(value: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new JobFailure("RESULT_NOT_JSON", `the handler's result cannot be stored as JSON: ${cause}`, {
      permanent: true,
      cause,
    });
  }
  if (json === undefined) {
    throw new JobFailure(
      "RESULT_NOT_JSON",
      `the handler returned a ${typeof value}, which JSON cannot hold`,
      {
        permanent: true,
      },
    );
  }
  return json;
}

/** The bytes of a holdfast.v1.Outcome that says how a handler failed. */
export function failureOutcome(error: unknown): Uint8Array {
  if (error instanceof JobFailure) {
    const { code, message, permanent, retryAfterMs } = error;
    const retryAfter = retryAfterMs > 0 ? { retryAfter: durationFromMs(Math.round(retryAfterMs)) } : {};
    return failure({
      code: failureCode(code),
      message: cutUtf8(message, failureMessageBytesMax),
      permanent,
      ...retryAfter,
    });
  }
  const code = failureCode(errorCode(error));
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return failure({ code, message: cutUtf8(message, failureMessageBytesMax) });
}

/**
 * How an attempt ends that was revoked with time to stop, when its handler threw: a cancelled job is cancelled, one
 * whose deadline passed has failed for good, and one that was taken for other reasons goes back ("release").
 */
export function revokedOutcome(cause: RevokeCause, message: string): Uint8Array | "release" {
  switch (cause) {
    case "cancelled":
      return encode({
        outcome: { case: "cancelled", value: { reason: cutUtf8(message, cancelReasonBytesMax) } },
      });
    case "deadline":
      return failure({
        code: "DEADLINE_EXCEEDED",
        message: cutUtf8(message, failureMessageBytesMax),
        permanent: true,
      });
    case "preempted":
    case "quarantined":
      return "release";
  }
}

type FailureInit = Extract<
  NonNullable<MessageInitShape<typeof OutcomeSchema>["outcome"]>,
  { case: "failure" }
>["value"];

function failure(value: FailureInit): Uint8Array {
  return encode({ outcome: { case: "failure", value } });
}

function encode(outcome: MessageInitShape<typeof OutcomeSchema>): Uint8Array {
  return toBinary(OutcomeSchema, create(OutcomeSchema, outcome));
}

/** The code of errors such as Node's ("ECONNREFUSED"), or a general one. */
function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "HANDLER_ERROR";
  const { code } = error;
  return (typeof code === "string" && code !== "") || typeof code === "number"
    ? String(code)
    : "HANDLER_ERROR";
}

/** In the form that the wire demands: upper case, everything else replaced. */
function failureCode(code: string): string {
  const formed = code
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")
    .slice(0, failureCodeMax);
  return formed === "" ? "HANDLER_ERROR" : formed;
}

/** At most `bytesMax` bytes of UTF-8, cut between characters. */
function cutUtf8(value: string, bytesMax: number): string {
  if (Buffer.byteLength(value) <= bytesMax) return value;
  let end = bytesMax;
  const bytes = Buffer.from(value);
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
