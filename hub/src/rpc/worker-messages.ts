// What workers send, checked: from the wire to the services.

import type { Outcome as OutcomeMessage } from "@holdfast/gen/holdfast/v1/job_pb";
import type {
  AttachRequest,
  Checkpoint,
  Hello,
  JobResult,
  LeaseProgress,
  LeaseSpend,
  ReleasedLease,
  ThrottleReport,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Fault } from "../domain/fault.js";
import type { Outcome } from "../domain/outcome.js";
import type { IncomingCheckpoint, IncomingResult, WorkerHello } from "../services/session-messages.js";
import type { IncomingProgress, IncomingSpend, IncomingThrottle } from "../services/session-reports.js";
import {
  checkBytes,
  checkCount,
  checkDuration,
  checkInteger,
  checkName,
  checkText,
  checkUuid,
  invalid,
} from "./check.js";
import { toRefusal } from "./errors.js";
import { toSpend } from "./job-messages.js";
import { dayMs, type EdgeLimits, heldLeasesMax, reportResultsMax } from "./limits.js";
import { toWeights } from "./score-messages.js";

export const protocolVersion = 1;
const failureCodeForm = /^[A-Z0-9_]{1,64}$/;

/** @throws Fault INVALID_FIELD or UNSUPPORTED_VERSION */
export function toHello(message: Hello, path: string): WorkerHello {
  const at = (field: string) => `${path}.${field}`;
  if (message.protocolVersion !== protocolVersion)
    throw new Fault(
      "UNSUPPORTED_VERSION",
      `The worker speaks protocol version ${message.protocolVersion}, this hub ${protocolVersion}.`,
      { worker_version: String(message.protocolVersion), hub_version: String(protocolVersion) },
    );
  const names = (field: "kinds" | "capabilities" | "products" | "queues", min: number, max: number) => {
    checkCount(at(field), message[field].length, min, max);
    return message[field].map((name, index) => checkName(at(`${field}[${index}]`), name));
  };
  checkCount(at("held"), message.held.length, 0, heldLeasesMax);
  return {
    workerName: checkText(at("worker_name"), message.workerName, 128, 1),
    kinds: names("kinds", 1, 256),
    capabilities: names("capabilities", 0, 64),
    products: names("products", 0, 64),
    queues: names("queues", 0, 64),
    weights: toWeights(message.weights, at("weights")),
    sessionId: message.sessionId === "" ? null : checkUuid(at("session_id"), message.sessionId),
    held: message.held.map((lease, index) => ({
      jobId: checkUuid(at(`held[${index}].job_id`), lease.jobId),
      fencingToken: checkToken(at(`held[${index}].fencing_token`), lease.fencingToken),
    })),
  };
}

/** The hello of a stream's first message. */
export function firstHello(request: AttachRequest | undefined): Hello {
  if (request?.message.case !== "hello") throw invalid("message", "must be hello, as the first message");
  return request.message.value;
}

function checkToken(field: string, token: bigint): bigint {
  if (token < 0n) throw invalid(field, "must not be negative");
  return token;
}

/** @throws Fault INVALID_FIELD for what cannot be answered item by item (ids, count, unset outcome) */
export function toResults(
  messages: readonly JobResult[],
  path: string,
  limits: EdgeLimits,
  resultsMin: 0 | 1,
): IncomingResult[] {
  checkCount(path, messages.length, resultsMin, reportResultsMax);
  return messages.map((message, at) => ({
    jobId: checkUuid(`${path}[${at}].job_id`, message.jobId),
    fencingToken: checkToken(`${path}[${at}].fencing_token`, message.fencingToken),
    outcome: toOutcome(message.outcome, `${path}[${at}].outcome`, limits),
    ...(message.spend && { spend: toSpend(message.spend, `${path}[${at}].spend`) }),
  }));
}

function toOutcome(
  message: OutcomeMessage | undefined,
  path: string,
  limits: EdgeLimits,
): IncomingResult["outcome"] {
  if (message?.outcome.case === undefined) throw invalid(path, "is required");
  try {
    return readOutcome(message.outcome, path, limits);
  } catch (error) {
    // The lease stands and the worker can report otherwise, so this is the item's verdict and not the stream's end.
    if (error instanceof Fault) return { type: "refused", refusal: toRefusal(error) };
    throw error;
  }
}

function readOutcome(
  outcome: Exclude<OutcomeMessage["outcome"], { case: undefined }>,
  path: string,
  limits: EdgeLimits,
): Outcome {
  switch (outcome.case) {
    case "success": {
      const { result, contentType } = outcome.value;
      return {
        type: "success",
        result: checkBytes(`${path}.success.result`, result, limits.resultBytesMax, "resultBytesMax"),
        contentType: checkText(`${path}.success.content_type`, contentType, 128),
      };
    }
    case "failure": {
      const { code, message, permanent, retryAfter } = outcome.value;
      if (code !== "" && !failureCodeForm.test(code))
        throw invalid(`${path}.failure.code`, "must be 1 to 64 characters of A-Z 0-9 _");
      return {
        type: "failure",
        code: code || "UNKNOWN",
        message: checkText(`${path}.failure.message`, message, 4096),
        permanent,
        retryAfterMs: checkDuration(`${path}.failure.retry_after`, retryAfter, 7 * dayMs, 0),
      };
    }
    case "cancelled":
      return { type: "cancelled", reason: checkText(`${path}.cancelled.reason`, outcome.value.reason, 1024) };
  }
}

export function toCheckpoint(message: Checkpoint, path: string, limits: EdgeLimits): IncomingCheckpoint {
  const about = {
    jobId: checkUuid(`${path}.job_id`, message.jobId),
    fencingToken: checkToken(`${path}.fencing_token`, message.fencingToken),
    sequence: message.sequence,
    state: message.state,
  };
  try {
    if (message.sequence < 1n) throw invalid(`${path}.sequence`, "must be at least 1");
    checkBytes(`${path}.state`, message.state, limits.checkpointBytesMax, "checkpointBytesMax");
    return { ...about, refusal: null };
  } catch (error) {
    if (error instanceof Fault) return { ...about, refusal: toRefusal(error) };
    throw error;
  }
}

export function toProgress(messages: readonly LeaseProgress[], path: string): IncomingProgress[] {
  checkCount(path, messages.length, 0, 1_000);
  return messages.map((message, at) => {
    const percent = message.progress?.percent ?? 0;
    if (!(percent >= 0 && percent <= 100))
      throw invalid(`${path}[${at}].progress.percent`, "must be from 0 to 100");
    return {
      jobId: checkUuid(`${path}[${at}].job_id`, message.jobId),
      fencingToken: checkToken(`${path}[${at}].fencing_token`, message.fencingToken),
      percent,
      message: checkText(`${path}[${at}].progress.message`, message.progress?.message ?? "", 1024),
    };
  });
}

export function toSpends(messages: readonly LeaseSpend[], path: string): IncomingSpend[] {
  checkCount(path, messages.length, 1, 1_000);
  return messages.map((message, at) => {
    if (!message.spend) throw invalid(`${path}[${at}].spend`, "is required");
    return {
      jobId: checkUuid(`${path}[${at}].job_id`, message.jobId),
      fencingToken: checkToken(`${path}[${at}].fencing_token`, message.fencingToken),
      ...toSpend(message.spend, `${path}[${at}].spend`),
    };
  });
}

export function toThrottle(message: ThrottleReport, path: string): IncomingThrottle {
  return {
    jobId: checkUuid(`${path}.job_id`, message.jobId),
    fencingToken: checkToken(`${path}.fencing_token`, message.fencingToken),
    retryAfterMs: checkDuration(`${path}.retry_after`, message.retryAfter, dayMs, 0),
  };
}

export function toReleases(messages: readonly ReleasedLease[], path: string, leasesMin: 0 | 1) {
  checkCount(path, messages.length, leasesMin, 1_000);
  return messages.map((message, at) => ({
    jobId: checkUuid(`${path}[${at}].job_id`, message.jobId),
    fencingToken: checkToken(`${path}[${at}].fencing_token`, message.fencingToken),
    isStarted: message.started,
  }));
}

export function toCredit(jobs: number, bytes: bigint, limits: EdgeLimits) {
  return {
    jobs: checkInteger("credit.jobs", jobs, 0, limits.creditJobsMax),
    bytes: checkInteger("credit.bytes", bytes, 0, limits.creditBytesMax),
  };
}

export function toDelivered(deliveredThrough: bigint): number {
  return checkInteger("delivered_through", deliveredThrough, 0, Number.MAX_SAFE_INTEGER);
}
