import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExplainResponseSchema } from "@holdfast/gen/holdfast/v1/explain_pb";
import { gateTypeName, targetText } from "../domain/gate.js";
import type { Explanation } from "../services/explainer.js";
import { optionalTime, toJobMessage } from "./job-messages.js";

export function toExplainMessage(explanation: Explanation): MessageInitShape<typeof ExplainResponseSchema> {
  const { job, reasons, place, candidates, sessions, decisions, gates, waitedFor } = explanation;
  return {
    job: { ...toJobMessage(job), payload: new Uint8Array() },
    reasons: reasons.map(({ cause, message, untilMs }) => ({
      cause: cause as number,
      message,
      ...optionalTime("until", untilMs),
    })),
    ...(place && {
      position: {
        jobsAhead: place.jobsAhead,
        atLeast: place.isAtLeast,
        lanesAhead: place.lanesAhead,
        keysBeside: place.share?.keysBeside ?? 0,
        bytes: BigInt(place.bytes),
      },
    }),
    candidates: candidates.map(({ session, mismatches }) => ({
      sessionId: session.sessionId,
      workerName: session.workerName,
      writerId: session.writerId,
      mismatches: [...mismatches],
    })),
    sessions,
    waitsForTotal: waitedFor?.total ?? 0,
    waitsFor: (waitedFor?.jobs ?? []).map(({ jobId, kind, state, isChild }) => ({
      jobId,
      kind,
      state: state as number,
      child: isChild,
    })),
    gates: gates.map(({ gate, hold }) => ({
      type: gateTypeName(gate.type),
      target: targetText(gate.target),
      shut: hold !== null,
      reason: hold?.reason ?? "",
      ...optionalTime("until", hold?.untilMs ?? null),
    })),
    grants: decisions.map((decision) => ({
      sessionId: decision.sessionId,
      workerName: decision.workerName,
      attempt: decision.attempt,
      ...optionalTime("grantedAt", decision.grantedAtMs),
      ...optionalTime("endedAt", decision.endedAtMs),
      end: (decision.end ?? 0) as number,
      reason: decision.reason,
    })),
  };
}
