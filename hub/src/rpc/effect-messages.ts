// Effects between the wire and the services.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type {
  AcquiredEffectSchema,
  CompletedEffectSchema,
  EffectAct,
  EffectName as EffectNameMessage,
  EffectNameSchema,
  EffectSchema,
  EffectVerdictSchema,
  HeldEffectSchema,
} from "@holdfast/gen/holdfast/v1/effect_pb";
import type { EffectName } from "../domain/effect.js";
import type { EffectHolder, EffectView } from "../domain/effect-view.js";
import { Fault } from "../domain/fault.js";
import type { EffectAnswer, EffectRequest } from "../services/effect-requests.js";
import type { EffectVerdict } from "../services/session-messages.js";
import { checkBytes, checkDuration, checkName, checkText, checkUuid, invalid } from "./check.js";
import { optionalTime } from "./job-messages.js";
import { dayMs, type EdgeLimits } from "./limits.js";

const defaultTtlMs = 30_000;
const ttlMsMin = 100;
const keyBytesMax = 256;
const reasonBytesMax = 1024;

export function toEffectKey(field: string, key: string): string {
  return checkText(field, key, keyBytesMax, 1);
}

/** @throws Fault INVALID_FIELD */
export function toEffectName(message: EffectNameMessage | undefined): EffectName {
  if (message?.owner.case === undefined) throw invalid("name.owner", "is required: job_id or scope");
  const key = toEffectKey("name.key", message.key);
  return message.owner.case === "jobId"
    ? { jobId: checkUuid("name.job_id", message.owner.value), scope: null, key }
    : { jobId: null, scope: checkName("name.scope", message.owner.value), key };
}

/** The fencing token that goes with an effect: one for an effect of a job, none for one of a scope. */
export function toFencingToken(name: EffectName, fencingToken: bigint): bigint | null {
  if (name.jobId === null) {
    if (fencingToken !== 0n) throw invalid("fencing_token", "must be 0 for an effect of a scope");
    return null;
  }
  if (fencingToken < 1n) throw invalid("fencing_token", "must be that of the job's lease");
  return fencingToken;
}

export function toEffectToken(field: string, token: bigint): bigint {
  if (token < 1n) throw invalid(field, "must be as granted");
  return token;
}

export function toTtlMs(field: string, ttl: Duration | undefined): number {
  const ttlMs = checkDuration(field, ttl, dayMs, defaultTtlMs);
  if (ttlMs < ttlMsMin) throw invalid(field, `must be at least ${ttlMsMin / 1000} s`);
  return ttlMs;
}

export function toCompletion(
  path: string,
  message: { readonly effectToken: bigint; readonly result: Uint8Array; readonly contentType: string },
  limits: EdgeLimits,
): Extract<EffectRequest, { type: "complete" }> {
  const at = (field: string) => (path === "" ? field : `${path}.${field}`);
  return {
    type: "complete",
    effectToken: toEffectToken(at("effect_token"), message.effectToken),
    result: checkBytes(at("result"), message.result, limits.effectResultBytesMax, "effectResultBytesMax"),
    contentType: checkText(at("content_type"), message.contentType, 128),
  };
}

export function toReason(field: string, reason: string): string {
  return checkText(field, reason, reasonBytesMax, 1);
}

/** What a worker asks for on its stream. */
export function toEffectRequest(message: EffectAct, limits: EdgeLimits): EffectRequest {
  const { act, requestId } = message;
  switch (act.case) {
    case "claim":
      return { type: "claim", requestId, ttlMs: toTtlMs("effect.claim.ttl", act.value.ttl) };
    case "renew":
      return {
        type: "renew",
        effectToken: toEffectToken("effect.renew.effect_token", act.value.effectToken),
        ttlMs: toTtlMs("effect.renew.ttl", act.value.ttl),
      };
    case "complete":
      return toCompletion("effect.complete", act.value, limits);
    case "release":
      return {
        type: "release",
        effectToken: toEffectToken("effect.release.effect_token", act.value.effectToken),
      };
    case "abandon":
      return {
        type: "abandon",
        effectToken: toEffectToken("effect.abandon.effect_token", act.value.effectToken),
        reason: toReason("effect.abandon.reason", act.value.reason),
      };
    case undefined:
      throw new Fault("INVALID_FIELD", "effect.act is empty or of a kind that this hub does not know.", {
        field: "effect.act",
      });
  }
}

type Bytes = Uint8Array<ArrayBuffer>;

export function toEffectVerdict(verdict: EffectVerdict): MessageInitShape<typeof EffectVerdictSchema> {
  const { requestId, jobId, fencingToken, key, answer } = verdict;
  return { requestId, jobId, fencingToken, key, answer: toAnswer(answer) };
}

function toAnswer(
  answer: EffectVerdict["answer"],
): NonNullable<MessageInitShape<typeof EffectVerdictSchema>["answer"]> {
  switch (answer.type) {
    case "acquired":
    case "held":
    case "completed":
      return toClaimAnswer(answer);
    case "renewed":
      return { case: "renewed", value: toRenewed(answer) };
    case "written":
      return { case: "written", value: { existing: answer.isExisting } };
    case "refused": {
      const { reason, message, metadata } = answer.refusal;
      return { case: "refused", value: { reason, message, metadata: { ...metadata } } };
    }
  }
}

type ClaimAnswer = Extract<EffectAnswer, { type: "acquired" | "held" | "completed" }>;

export function toClaimAnswer(
  answer: ClaimAnswer,
):
  | { case: "acquired"; value: MessageInitShape<typeof AcquiredEffectSchema> }
  | { case: "held"; value: MessageInitShape<typeof HeldEffectSchema> }
  | { case: "completed"; value: MessageInitShape<typeof CompletedEffectSchema> } {
  switch (answer.type) {
    case "acquired":
      return {
        case: "acquired",
        value: {
          ...toRenewed(answer),
          effectToken: answer.effectToken,
          takenOver: answer.isTakenOver,
        },
      };
    case "held":
      return { case: "held", value: { ...toRenewed(answer), holder: toHolder(answer.holder) } };
    case "completed":
      return {
        case: "completed",
        value: {
          result: answer.result as Bytes,
          contentType: answer.contentType,
          ...optionalTime("completedAt", answer.completedAtMs),
        },
      };
  }
}

export function toRenewed(lease: { readonly heldUntilMs: number; readonly timeLeftMs: number }) {
  return {
    heldUntil: timestampFromMs(Math.round(lease.heldUntilMs)),
    timeLeft: durationFromMs(Math.ceil(lease.timeLeftMs)),
  };
}

function toHolder({ subject, sessionId }: EffectHolder) {
  return { subject, sessionId: sessionId ?? "" };
}

export function toEffectMessage(effect: EffectView): MessageInitShape<typeof EffectSchema> {
  const { abandonment } = effect;
  return {
    name: toNameMessage(effect.name),
    state: effect.state as number,
    effectToken: effect.effectToken,
    holder: toHolder(effect.holder),
    ...optionalTime("claimedAt", effect.claimedAtMs),
    ...optionalTime("heldUntil", effect.heldUntilMs),
    takenOver: effect.isTakenOver,
    ...optionalTime("completedAt", effect.completedAtMs),
    result: effect.result as Bytes,
    contentType: effect.contentType,
    resultBytes: effect.resultBytes,
    ...(abandonment && {
      abandonment: {
        ...optionalTime("at", abandonment.atMs),
        by: abandonment.by,
        reason: abandonment.reason,
      },
    }),
  };
}

function toNameMessage({ jobId, scope, key }: EffectName): MessageInitShape<typeof EffectNameSchema> {
  return {
    owner: jobId === null ? { case: "scope", value: scope } : { case: "jobId", value: jobId },
    key,
  };
}
