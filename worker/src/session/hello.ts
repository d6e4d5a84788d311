import { create } from "@bufbuild/protobuf";
import { type Hello, HelloSchema } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { TabledLease } from "./lease-table.js";
import type { OpenResult } from "./result-keeper.js";
import type { WorkerProfile } from "./session-plan.js";

/** Version of the protocol that this worker speaks. */
const protocolVersion = 1;

/** Leases that one hello may name. */
const heldMax = 100_000;

/**
 * Opens a session, or with a session id resumes it. A resuming hello names everything the worker still holds, results
 * first: their jobs are done, and must not be done again.
 */
export function helloMessage(
  worker: WorkerProfile,
  sessionId: string,
  results: Iterable<OpenResult>,
  leases: Iterable<TabledLease>,
): Hello {
  const held = [];
  if (sessionId !== "") {
    for (const { jobId, fencingToken } of results) held.push({ jobId, fencingToken: BigInt(fencingToken) });
    for (const { jobId, fencingToken, checkpointSequence } of leases) {
      held.push({
        jobId,
        fencingToken: BigInt(fencingToken),
        checkpointSequence: BigInt(checkpointSequence),
      });
    }
  }
  return create(HelloSchema, {
    protocolVersion,
    workerName: worker.name,
    kinds: [...worker.kinds],
    capabilities: [...worker.capabilities],
    products: [...worker.products],
    queues: [...worker.queues],
    ...(worker.weights === undefined ? {} : { weights: worker.weights }),
    sessionId,
    held: held.slice(0, heldMax),
  });
}
