// Waits for signals: what comes up on the lease stream or by a call, and the verdict that goes down after the commit.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Wait, WaitVerdictSchema } from "@holdfast/gen/holdfast/v1/wait_pb";
import { Fault, type FaultReason } from "../domain/fault.js";
import type { WaitVerdict } from "../services/session-messages.js";
import type { Suspensions } from "../services/suspensions.js";
import type { WaitRequest } from "../services/wait-requests.js";
import type { WorkerSession } from "../services/worker-session.js";
import { checkDuration, checkText, checkUuid, invalid } from "./check.js";
import { toRefusal } from "./errors.js";
import { optionalTime } from "./job-messages.js";
import { dayMs } from "./limits.js";
import { checkSequence, toChannelName, toPageMessage } from "./signal-messages.js";

/** What concerns the one wait, and is its verdict; anything else ends the stream, and the wait is sent again. */
const verdictReasons: ReadonlySet<FaultReason> = new Set<FaultReason>([
  "STALE_FENCE",
  "CANCEL_REQUESTED",
  "CURSOR_TOO_OLD",
  "INVALID_FIELD",
  "SCOPE_MISSING",
  "JOB_NOT_FOUND",
  "CHANNEL_LIMIT",
  "ITEM_POISONED",
]);

const timeoutMaxMs = 366 * dayMs;

/** @throws Fault INVALID_FIELD for what a verdict could not name */
export function waitForSignal(
  suspensions: Suspensions,
  session: WorkerSession,
  message: Wait,
  path: string,
): Promise<WaitVerdict> {
  const about = {
    requestId: checkText(`${path}.request_id`, message.requestId, 128, 1),
    jobId: checkUuid(`${path}.job_id`, message.jobId),
    fencingToken: message.fencingToken,
  };
  if (message.fencingToken < 1n) throw invalid(`${path}.fencing_token`, "must be that of a lease");
  return commitWait(suspensions, session, message, path, about);
}

async function commitWait(
  suspensions: Suspensions,
  session: WorkerSession,
  message: Wait,
  path: string,
  about: Omit<WaitVerdict, "answer">,
): Promise<WaitVerdict> {
  const { jobId, fencingToken } = about;
  try {
    const request = { jobId, fencingToken, ...toPlace(message, path) };
    return { ...about, answer: await suspensions.wait(session, request) };
  } catch (error) {
    if (!(error instanceof Fault) || !verdictReasons.has(error.reason)) throw error;
    return { ...about, answer: { type: "refused", refusal: toRefusal(error) } };
  }
}

function toPlace(message: Wait, path: string): Omit<WaitRequest, "jobId" | "fencingToken"> {
  const timeoutMs = message.timeout
    ? checkDuration(`${path}.timeout`, message.timeout, timeoutMaxMs, 0)
    : null;
  if (timeoutMs === 0) throw invalid(`${path}.timeout`, "must be at least 1 ms");
  return {
    channel: toChannelName(message.channel, `${path}.channel`),
    key: checkText(`${path}.key`, message.key, 256),
    afterSequence: checkSequence(`${path}.after`, message.after, 0),
    timeoutMs,
  };
}

export function toWaitVerdictMessage(verdict: WaitVerdict): MessageInitShape<typeof WaitVerdictSchema> {
  const { requestId, jobId, fencingToken, answer } = verdict;
  return { requestId, jobId, fencingToken, answer: toAnswer(answer) };
}

function toAnswer(
  answer: WaitVerdict["answer"],
): NonNullable<MessageInitShape<typeof WaitVerdictSchema>["answer"]> {
  switch (answer.type) {
    case "signal": {
      const { page, partition } = answer;
      return { case: "signal", value: { page: toPageMessage(page), partition } };
    }
    case "timed_out":
      return { case: "timedOut", value: {} };
    case "suspended":
      return { case: "suspended", value: optionalTime("timeoutAt", answer.timeoutAtMs) };
    case "refused": {
      const { reason, message, metadata } = answer.refusal;
      return { case: "refused", value: { reason, message, metadata: { ...metadata } } };
    }
  }
}
