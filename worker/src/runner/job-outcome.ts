import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobFailure, type RevokeCause } from "../job-errors.js";
import { wireText } from "../wire/wire-text.js";

/** Limits of the wire; what is longer, or later, is cut. */
const failureCodeMax = 64;
const failureMessageBytesMax = 4096;
const cancelReasonBytesMax = 1024;
const retryAfterMsMax = 7 * 86_400_000;

/** The code of a failure that brings none. */
const generalCode = "HANDLER_ERROR";

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

/**
 * The bytes of a holdfast.v1.Outcome that says how a handler failed. Never throws, whatever the handler threw: that may be
 * anything, a proxy that was revoked or an object without a text among it.
 */
export function failureOutcome(error: unknown): Uint8Array {
  try {
    return failure(error instanceof JobFailure ? meantFailure(error) : otherFailure(error));
  } catch {
    return failure({ code: generalCode, message: "the handler threw something that cannot be read" });
  }
}

function meantFailure(error: JobFailure): FailureInit {
  const retryAfterMs = waitMs(error.retryAfterMs);
  return {
    code: failureCode(error),
    message: wireText(error.message, failureMessageBytesMax),
    permanent: Boolean(error.permanent),
    ...(retryAfterMs > 0 && { retryAfter: durationFromMs(retryAfterMs) }),
  };
}

function otherFailure(error: unknown): FailureInit {
  const message = error instanceof Error ? `${error.name}: ${String(error.message)}` : String(error);
  return { code: failureCode(error), message: wireText(message, failureMessageBytesMax) };
}

/** As much of a delay as a hub takes. */
function waitMs(retryAfterMs: number): number {
  return Math.round(Math.min(Math.max(Number(retryAfterMs) || 0, 0), retryAfterMsMax));
}

/**
 * How an attempt ends that was revoked with time to stop, when its handler threw: a cancelled job is cancelled, one
 * whose deadline passed has failed for good, and one that was taken for other reasons goes back ("release").
 */
export function revokedOutcome(cause: RevokeCause, message: string): Uint8Array | "release" {
  switch (cause) {
    case "cancelled":
      return encode({
        outcome: { case: "cancelled", value: { reason: wireText(message, cancelReasonBytesMax) } },
      });
    case "deadline":
      return failure({
        code: "DEADLINE_EXCEEDED",
        message: wireText(message, failureMessageBytesMax),
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

/**
 * The code of a JobFailure, or of errors such as Node's ("ECONNREFUSED"), or a general one; in the form that the wire
 * demands: upper case, everything else replaced.
 */
function failureCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return generalCode;
  const { code } = error;
  if (code === "" || (typeof code !== "string" && typeof code !== "number")) return generalCode;
  return String(code)
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")
    .slice(0, failureCodeMax);
}
