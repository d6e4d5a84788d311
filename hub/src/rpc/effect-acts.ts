// Effects on the lease stream: an act comes up, its verdict goes down after the commit.
import type { EffectAct } from "@holdfast/gen/holdfast/v1/effect_pb";
import { Fault, type FaultReason } from "../domain/fault.js";
import type { Effects } from "../services/effects.js";
import type { EffectVerdict } from "../services/session-messages.js";
import type { WorkerSession } from "../services/worker-session.js";
import { checkText, checkUuid, invalid } from "./check.js";
import { toEffectKey, toEffectRequest } from "./effect-messages.js";
import { toRefusal } from "./errors.js";
import type { EdgeLimits } from "./limits.js";

/** What concerns the one act, and is its verdict; anything else ends the stream, and the act is sent again. */
const verdictReasons: ReadonlySet<FaultReason> = new Set<FaultReason>([
  "STALE_FENCE",
  "EFFECT_COMPLETED",
  "EFFECT_NOT_FOUND",
  "JOB_NOT_FOUND",
  "INVALID_FIELD",
  "PAYLOAD_TOO_LARGE",
  "ITEM_POISONED",
]);

/** @throws Fault INVALID_FIELD for what a verdict could not name */
export function actOnEffect(
  effects: Effects,
  session: WorkerSession,
  message: EffectAct,
  limits: EdgeLimits,
): Promise<EffectVerdict> {
  const about = {
    requestId: checkText("effect.request_id", message.requestId, 128, 1),
    jobId: checkUuid("effect.job_id", message.jobId),
    fencingToken: message.fencingToken,
    key: toEffectKey("effect.key", message.key),
  };
  if (message.fencingToken < 1n) throw invalid("effect.fencing_token", "must be that of a lease");
  return commitAct(effects, session, message, limits, about);
}

async function commitAct(
  effects: Effects,
  session: WorkerSession,
  message: EffectAct,
  limits: EdgeLimits,
  about: Omit<EffectVerdict, "answer">,
): Promise<EffectVerdict> {
  const { principal, sessionId } = session;
  const { jobId, fencingToken, key } = about;
  try {
    const request = toEffectRequest(message, limits);
    const name = { jobId, scope: null, key };
    return { ...about, answer: await effects.act({ principal, name, sessionId, fencingToken }, request) };
  } catch (error) {
    if (!(error instanceof Fault) || !verdictReasons.has(error.reason)) throw error;
    return { ...about, answer: { type: "refused", refusal: toRefusal(error) } };
  }
}
