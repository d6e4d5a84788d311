// What the hub sends to workers: from the services to the wire. Leases and verdicts: lease-messages.ts.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AttachResponse,
  AttachResponseSchema,
  type CheckpointSavedSchema,
  LostReason,
  RevokeReason,
  type RevokeSchema,
  Verdict,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { CheckpointVerdict, HubMessage, RevokedLease, Welcome } from "../services/session-messages.js";
import { toEffectVerdict } from "./effect-messages.js";
import type { EncodedResponse } from "./encoded.js";
import { encodeLeases, encodeVerdicts } from "./lease-messages.js";
import { type EdgeLimits, reportResultsMax } from "./limits.js";
import { toWaitVerdictMessage } from "./waits.js";

export function toWelcomeMessage(welcome: Welcome, limits: EdgeLimits, hubVersion: string): AttachResponse {
  return create(AttachResponseSchema, {
    message: {
      case: "welcome",
      value: {
        sessionId: welcome.sessionId,
        resumed: welcome.isResumed,
        sessionTtl: durationFromMs(limits.sessionTtlMs),
        heartbeatInterval: durationFromMs(limits.heartbeatIntervalMs),
        limits: {
          resultBytesMax: limits.resultBytesMax,
          checkpointBytesMax: limits.checkpointBytesMax,
          reportResultsMax,
          creditJobsMax: limits.creditJobsMax,
          creditBytesMax: BigInt(limits.creditBytesMax),
          effectResultBytesMax: limits.effectResultBytesMax,
        },
        held: welcome.held.map(({ jobId, fencingToken, lostReason }) => ({
          jobId,
          fencingToken,
          kept: lostReason === null,
          lostReason: lostReason === null ? LostReason.UNSPECIFIED : lostReasons[lostReason],
        })),
        hubVersion,
      },
    },
  });
}

const lostReasons = {
  session_expired: LostReason.SESSION_EXPIRED,
  stale_fence: LostReason.STALE_FENCE,
  reported: LostReason.REPORTED,
} as const;

export function toAttachResponse(message: HubMessage): AttachResponse | EncodedResponse {
  switch (message.type) {
    case "leases":
      return encodeLeases(message.delivery, message.leases);
    case "verdicts":
      return encodeVerdicts(message.verdicts);
    default:
      return create(AttachResponseSchema, { message: toMessage(message) });
  }
}

function toMessage(
  message: Exclude<HubMessage, { readonly type: "leases" | "verdicts" }>,
): NonNullable<MessageInitShape<typeof AttachResponseSchema>["message"]> {
  switch (message.type) {
    case "checkpoint_saved":
      return { case: "checkpointSaved", value: toSavedMessage(message.saved) };
    case "heartbeat": {
      const { echo, nonce } = message;
      return { case: "heartbeat", value: { echo, nonce, timeLeft: durationFromMs(message.timeLeftMs) } };
    }
    case "revoke":
      return { case: "revoke", value: toRevokeMessage(message.leases) };
    case "effect_verdict":
      return { case: "effectVerdict", value: toEffectVerdict(message.verdict) };
    case "wait_verdict":
      return { case: "waitVerdict", value: toWaitVerdictMessage(message.verdict) };
    case "drain":
      return { case: "drain", value: { grace: durationFromMs(message.graceMs) } };
  }
}

export function toSavedMessage(saved: CheckpointVerdict): MessageInitShape<typeof CheckpointSavedSchema> {
  const { jobId, fencingToken, sequence, verdict } = saved;
  const about = { jobId, fencingToken, sequence };
  if (verdict.type !== "refused") return { ...about, verdict: checkpointVerdicts[verdict.type] };
  const { reason, message, metadata } = verdict.refusal;
  return { ...about, verdict: Verdict.REFUSED, refusal: { reason, message, metadata: { ...metadata } } };
}

const checkpointVerdicts = {
  saved: Verdict.COMMITTED,
  duplicate: Verdict.DUPLICATE,
  stale: Verdict.STALE,
} as const;

const revokeReasons = {
  cancelled: RevokeReason.CANCELLED,
  deadline: RevokeReason.DEADLINE,
  preempted: RevokeReason.PREEMPTED,
} as const;

export function toRevokeMessage(leases: readonly RevokedLease[]): MessageInitShape<typeof RevokeSchema> {
  return {
    leases: leases.map(({ jobId, fencingToken, reason, graceMs, message }) => ({
      jobId,
      fencingToken,
      reason: revokeReasons[reason],
      grace: durationFromMs(graceMs),
      message,
    })),
  };
}
