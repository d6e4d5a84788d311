import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { FleetService, type GetStatusResponseSchema } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { isUuid, lastUuid } from "../domain/uuid.js";
import type { Fleet, HubStatus } from "../services/fleet.js";
import { checkPageSize, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { optionalFairness, optionalTime } from "./job-messages.js";
import { decodePageToken, encodePageToken } from "./page-token.js";
import { toWeightsMessage } from "./score-messages.js";

export function fleetService(fleet: Fleet): ImplementedService {
  return implement(FleetService, {
    getStatus: async (_request, { principal }) => toStatusMessage(await fleet.status(principal)),

    async listSessions(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["sessions", principal.tenantId];
      const before = request.pageToken ? decodePageToken(request.pageToken, listed) : lastUuid;
      if (!isUuid(before)) throw invalid("page_token", "is damaged");
      const sessions = await fleet.sessions(principal, before, limit);
      const last = sessions.at(-1);
      return {
        sessions: sessions.map((session) => ({
          sessionId: session.sessionId,
          workerName: session.workerName,
          subject: session.subject,
          kinds: [...session.profile.kinds],
          capabilities: [...session.profile.capabilities],
          ...(session.profile.weights && { weights: toWeightsMessage(session.profile.weights) }),
          ...optionalTime("attachedAt", session.attachedAtMs),
          ...optionalTime("expiresAt", session.expiresAtMs),
          writerId: session.writerId,
          isDraining: session.isDraining,
        })),
        nextPageToken: sessions.length < limit || !last ? "" : encodePageToken(last.sessionId, listed),
      };
    },
  });
}

function toStatusMessage(status: HubStatus): MessageInitShape<typeof GetStatusResponseSchema> {
  const { ledger } = status;
  return {
    hubVersion: status.hubVersion,
    writerId: status.writerId,
    ...optionalTime("startedAt", status.startedAtMs),
    ledger: {
      postgresVersion: ledger.postgresVersion,
      migration: ledger.migration,
      synchronousCommit: ledger.synchronousCommit,
      roundTrip: { seconds: 0n, nanos: Math.round(ledger.roundTripMs * 1e6) % 1e9 },
      embedded: status.isEmbedded,
    },
    streams: status.streams,
    hubs: status.hubs.map(({ writerId, hubVersion, host, startedAtMs, sessions }) => ({
      writerId,
      hubVersion,
      host,
      ...optionalTime("startedAt", startedAtMs),
      sessions,
    })),
    lanes: status.lanes.map(({ lane, fairnessWeight, stats, headReadyAtMs }) => ({
      product: lane.product,
      queue: lane.queue,
      kind: lane.kind,
      priority: lane.priority as number,
      capabilities: [...lane.capabilities],
      source: lane.source,
      ...optionalFairness({ key: lane.fairnessKey, weight: fairnessWeight }),
      retry: lane.isRetry,
      window: stats.window,
      hasRest: stats.hasRest,
      ...(headReadyAtMs !== null && {
        headAge: durationFromMs(Math.max(0, Math.round(Date.now() - headReadyAtMs))),
      }),
    })),
  };
}
