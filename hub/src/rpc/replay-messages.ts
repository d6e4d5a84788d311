import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  GetReplayResponseSchema,
  ReplayRequest as RequestMessage,
} from "@holdfast/gen/holdfast/v1/replay_pb";
import { replayVerdict } from "../domain/replay.js";
import type { ReplayPage, ReplayRequest } from "../services/replays.js";
import { checkText, checkUuid } from "./check.js";
import { optionalTime } from "./job-messages.js";
import { encodePageToken } from "./page-token.js";

/** @throws Fault INVALID_FIELD */
export function toReplayRequest(message: RequestMessage): ReplayRequest {
  return {
    requestId: checkText("request_id", message.requestId, 128, 1),
    jobId: checkUuid("job_id", message.jobId),
    reason: checkText("reason", message.reason, 1024),
    repeatsEffects: message.repeatEffects,
  };
}

export function toReplayPage(
  { replay, jobs, nextAfterId }: ReplayPage,
  listed: unknown,
): MessageInitShape<typeof GetReplayResponseSchema> {
  const { replayId, requestedAtMs, ...rest } = replay;
  return {
    replay: { ...rest, id: replayId, ...optionalTime("requestedAt", requestedAtMs) },
    jobs: jobs.map((job) => ({
      jobId: job.jobId,
      originalJobId: job.originalId,
      kind: job.kind,
      idempotencyKey: job.idempotencyKey,
      originalState: job.originalState as number,
      state: (job.state ?? 0) as number,
      originalDigest: job.originalDigest as Uint8Array<ArrayBuffer>,
      digest: (job.digest ?? new Uint8Array()) as Uint8Array<ArrayBuffer>,
      verdict: replayVerdict(job) as number,
    })),
    nextPageToken: nextAfterId ? encodePageToken(nextAfterId, listed) : "",
  };
}
