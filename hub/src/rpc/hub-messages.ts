// What the hub sends to workers: from the services to the wire. Leases and verdicts are the hot ones.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import {
  type AttachResponse,
  AttachResponseSchema,
  type CheckpointSavedSchema,
  type JobVerdictSchema,
  type LeaseSchema,
  LostReason,
  RevokeReason,
  type RevokeSchema,
  Verdict,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type {
  CheckpointVerdict,
  HubMessage,
  LaneLease,
  ResultVerdict,
  RevokedLease,
  Welcome,
} from "../services/session-messages.js";
import { toEffectVerdict } from "./effect-messages.js";
import { type EdgeLimits, reportResultsMax } from "./limits.js";
import { toChildrenMessage } from "./run-messages.js";
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

export function toAttachResponse(message: HubMessage): AttachResponse {
  return create(AttachResponseSchema, { message: toMessage(message) });
}

function toMessage(
  message: HubMessage,
): NonNullable<MessageInitShape<typeof AttachResponseSchema>["message"]> {
  switch (message.type) {
    case "leases":
      return {
        case: "leases",
        value: { delivery: BigInt(message.delivery), leases: message.leases.map(toLeaseMessage) },
      };
    case "verdicts":
      return { case: "verdicts", value: { verdicts: message.verdicts.map(toVerdictMessage) } };
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

export function toLeaseMessage({ lease, lane }: LaneLease): MessageInitShape<typeof LeaseSchema> {
  const { options } = lease;
  return {
    jobId: lease.jobId,
    fencingToken: lease.fencingToken,
    attempt: lease.attempt,
    maxAttempts: lease.attemptsMax,
    kind: lane.kind,
    product: lane.product,
    queue: lane.queue,
    payload: lease.payload as Uint8Array<ArrayBuffer>,
    contentType: lease.contentType,
    disconnectPolicy: options.finishAndReport ? DisconnectPolicy.FINISH_AND_REPORT : DisconnectPolicy.STOP,
    submittedAt: timestampFromMs(Math.round(lease.submittedAtMs)),
    ...(options.replay && { originJobId: options.replay.originId }),
    ...(lease.checkpoint && {
      checkpoint: {
        sequence: lease.checkpoint.sequence,
        state: lease.checkpoint.state as Uint8Array<ArrayBuffer>,
      },
    }),
    ...(lease.deadlineMs !== null && { deadline: timestampFromMs(Math.round(lease.deadlineMs)) }),
    ...(options.finishAndReport &&
      options.finishAndReport.limitMs > 0 && {
        disconnectLimit: durationFromMs(options.finishAndReport.limitMs),
      }),
    ...(options.traceContext && { traceContext: options.traceContext }),
    ...(options.labels && { labels: { ...options.labels } }),
    ...(options.idempotencyKey && { idempotencyKey: options.idempotencyKey }),
    ...(lease.children && { children: toChildrenMessage(lease.jobId, lease.children) }),
  };
}

export function toVerdictMessage(result: ResultVerdict): MessageInitShape<typeof JobVerdictSchema> {
  const { jobId, fencingToken, verdict } = result;
  switch (verdict.type) {
    case "committed":
      return { jobId, fencingToken, verdict: Verdict.COMMITTED, state: verdict.state as number };
    case "duplicate":
      return { jobId, fencingToken, verdict: Verdict.DUPLICATE };
    case "stale":
      return { jobId, fencingToken, verdict: Verdict.STALE };
    case "refused": {
      const { reason, message, metadata } = verdict.refusal;
      const refusal = { reason, message, metadata: { ...metadata } };
      return { jobId, fencingToken, verdict: Verdict.REFUSED, refusal };
    }
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
