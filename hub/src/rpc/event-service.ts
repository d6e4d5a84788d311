import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { EventService } from "@holdfast/gen/holdfast/v1/event_service_pb";
import type { Forwarding } from "../services/forwarding.js";
import { type ImplementedService, implement } from "./implementation.js";

export function eventService(forwarding: Forwarding): ImplementedService {
  return implement(EventService, {
    async getForwarding() {
      const { sink, cursors } = await forwarding.status();
      return {
        sink: sink ?? "",
        cursors: cursors.map((cursor) => ({
          writerId: cursor.writerId,
          host: cursor.host,
          ended: cursor.isEnded,
          done: cursor.isDone,
          forwardedThrough: BigInt(cursor.forwardedThrough),
          lastPage: BigInt(cursor.lastPage),
          waitingEvents: BigInt(cursor.waitingEvents),
          ...(cursor.lagMs !== null && { lag: durationFromMs(Math.round(cursor.lagMs)) }),
          claimedBy: cursor.claimedBy ?? 0,
        })),
      };
    },
  });
}
