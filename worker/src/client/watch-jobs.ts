import { setTimeout as sleep } from "node:timers/promises";
import { type ServiceError, status } from "@grpc/grpc-js";
import { JobService, type WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { HoldfastError } from "../grpc/holdfast-error.js";
import { backoffMs } from "../session/backoff.js";
import type { HubConnection } from "./hub-connection.js";

/** A job to follow: its id, or its id and the last revision already seen. */
export type WatchTarget = string | { readonly jobId: string; readonly afterRevision?: number };

const backoff = { firstMs: 100, maxMs: 5_000, resetAfterMs: 0 };

/**
 * Follows jobs until each has ended. A watch that loses its hub goes on with the next one where it was, so no event is
 * missed or seen twice; one that never reached any hub fails.
 */
export async function* watchJobs(
  connection: HubConnection,
  targets: readonly WatchTarget[],
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchResponse, void, undefined> {
  const seen = new Map(
    targets.map((target) =>
      typeof target === "string" ? [target, 0] : [target.jobId, target.afterRevision ?? 0],
    ),
  );
  let wasOpen = false;
  for (let failures = 0; ; failures++) {
    signal?.throwIfAborted();
    if (failures > 0)
      await sleep(backoffMs(backoff, failures, Math.random()), undefined, signal && { signal });
    const { call, failed } = connection.stream(JobService.method.watch, {
      targets: [...seen].map(([jobId, afterRevision]) => ({ jobId, afterRevision })),
    });
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    // The hub's headers say that it follows the jobs, though there may be nothing to tell yet.
    call.once("metadata", () => {
      wasOpen = true;
      failures = 0;
    });
    try {
      for await (const response of call as AsyncIterable<WatchResponse>) {
        const { update } = response;
        if (update.case === "event") seen.set(update.value.jobId, update.value.revision);
        yield response;
      }
      return;
    } catch (error) {
      signal?.throwIfAborted();
      const failure = failed(error as ServiceError);
      if (!isLost(failure) || (!wasOpen && failures + 1 >= connection.hubs)) throw failure;
    } finally {
      signal?.removeEventListener("abort", cancel);
      call.cancel();
    }
  }
}

/** The connection was lost, rather than the call refused. Some losses show as an internal error of the transport. */
function isLost({ grpcCode, reason }: HoldfastError): boolean {
  if (grpcCode === status.UNAVAILABLE) return true;
  return grpcCode === status.INTERNAL && reason === "INTERNAL";
}
