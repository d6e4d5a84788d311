import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ClaimRequest,
  type ClaimResponse,
  ClaimResponseSchema,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { requireKinds } from "../services/access.js";
import type { UnaryWorkers } from "../services/unary-workers.js";
import { type AttachParts, attach } from "./attach.js";
import { checkCount, checkDuration, checkInteger, checkText, checkUuid, invalid } from "./check.js";
import { toRevokeMessage, toSavedMessage } from "./hub-messages.js";
import { type Call, type ImplementedService, implement } from "./implementation.js";
import { toLeaseMessage, toVerdictMessage } from "./lease-messages.js";
import { unaryBytesMax, unaryLeasesMax } from "./limits.js";
import { toWaitVerdictMessage, waitForSignal } from "./waits.js";
import { toCheckpoint, toDelivered, toHello, toReleases, toResults } from "./worker-messages.js";

export function workerService(parts: AttachParts, unary: UnaryWorkers): ImplementedService {
  const { limits } = parts;
  return implement(WorkerService, {
    attach: (requests, call) => attach(parts, requests, call),

    claim: (request, call) => claim(unary, request, call),

    async renew(request, { principal }) {
      const sessionId = checkUuid("session_id", request.sessionId);
      const renewed = await unary.renew(principal, sessionId, toDelivered(request.deliveredThrough));
      return {
        timeLeft: durationFromMs(renewed.timeLeftMs),
        ...(renewed.revoked.length > 0 && { revoke: toRevokeMessage(renewed.revoked) }),
      };
    },

    async report(request, { principal }) {
      const sessionId = checkUuid("session_id", request.sessionId);
      checkCount("checkpoints", request.checkpoints.length, 0, 100);
      const reported = await unary.report(principal, sessionId, {
        results: toResults(request.results, "results", limits, 0),
        checkpoints: request.checkpoints.map((one, at) => toCheckpoint(one, `checkpoints[${at}]`, limits)),
        releases: toReleases(request.releases, "releases", 0),
        deliveredThrough: toDelivered(request.deliveredThrough),
      });
      return {
        verdicts: reported.verdicts.map(toVerdictMessage),
        checkpoints: reported.checkpoints.map(toSavedMessage),
      };
    },

    async wait(request, { principal }) {
      const sessionId = checkUuid("session_id", request.sessionId);
      const { wait } = request;
      if (!wait) throw invalid("wait", "is required");
      const session = await unary.session(principal, sessionId, toDelivered(request.deliveredThrough));
      return {
        verdict: toWaitVerdictMessage(await waitForSignal(parts.suspensions, session, wait, "wait")),
      };
    },
  });
}

async function claim(unary: UnaryWorkers, request: ClaimRequest, call: Call): Promise<ClaimResponse> {
  if (request.sessionId === "" && !request.worker) throw invalid("worker", "is required without session_id");
  const worker = request.worker && request.sessionId === "" ? toHello(request.worker, "worker") : null;
  if (worker) requireKinds(call.principal, worker.kinds);
  const claimed = await unary.claim(
    call.principal,
    {
      requestId: checkText("request_id", request.requestId, 128, 1),
      sessionId: request.sessionId === "" ? null : checkUuid("session_id", request.sessionId),
      worker,
      jobsMax: checkInteger("max_jobs", request.maxJobs, 1, unaryLeasesMax),
      bytesMax: checkInteger(
        "max_bytes",
        request.maxBytes === 0n ? 4 << 20 : request.maxBytes,
        1,
        unaryBytesMax,
      ),
      waitMs: checkDuration("wait", request.wait, 60_000, 0),
      deliveredThrough: toDelivered(request.deliveredThrough),
    },
    call.signal,
  );
  return create(ClaimResponseSchema, {
    sessionId: claimed.sessionId,
    timeLeft: durationFromMs(claimed.timeLeftMs),
    ...(claimed.leases && {
      leases: {
        delivery: BigInt(claimed.leases.delivery),
        leases: claimed.leases.leases.map(toLeaseMessage),
      },
    }),
  });
}
