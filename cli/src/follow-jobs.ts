import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import type { WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { isTransient } from "./call-error.js";
import { type Connection, NO_TIMEOUT } from "./connection.js";
import { isTerminal } from "./job-words.js";

// Follows jobs until each has ended. A lost connection is dialled again and resumes after the last revision
// seen of each job, so no event is missed and none is told twice. The hub decides when it is over: it ends the
// stream once every job is terminal.

/** The hub's limit of jobs on one stream. */
export const FOLLOWED_JOBS_MAX = 100;

const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 5_000;

export interface FollowOptions {
  readonly signal: AbortSignal;
  /** How long the hub may stay away before the loss of it is an error. */
  readonly giveUpAfterMs: number;
  /** False while nothing has shown yet that there is a hub: then the first failure is final. */
  readonly wasReached: boolean;
  readonly onLost?: (error: ConnectError, delayMs: number) => void;
}

/** Yields every update; returns the last state of each job once all are terminal. */
export async function* followJobs(
  jobs: Connection["jobs"],
  jobIds: readonly string[],
  options: FollowOptions,
): AsyncGenerator<WatchResponse, ReadonlyMap<string, JobState>> {
  const states = new Map(jobIds.map((id) => [id, JobState.UNSPECIFIED]));
  const revisions = new Map(jobIds.map((id) => [id, 0]));
  let wasReached = options.wasReached;
  let lostAtMs: number | undefined;
  let backoffMs = BACKOFF_FIRST_MS;

  for (;;) {
    let failure: ConnectError;
    try {
      const targets = jobIds.map((jobId) => ({ jobId, afterRevision: revisions.get(jobId) ?? 0 }));
      for await (const response of jobs.watch({ targets }, { ...NO_TIMEOUT, signal: options.signal })) {
        wasReached = true;
        lostAtMs = undefined;
        backoffMs = BACKOFF_FIRST_MS;
        if (response.update.case === "event") {
          const event = response.update.value;
          revisions.set(event.jobId, event.revision);
          states.set(event.jobId, event.state);
        }
        yield response;
      }
      if ([...states.values()].every(isTerminal)) {
        return states;
      }
      failure = new ConnectError("the hub ended the stream early", Code.Unavailable);
    } catch (error) {
      failure = ConnectError.from(error);
      if (options.signal.aborted || !wasReached || !isTransient(failure)) {
        throw failure;
      }
    }
    const nowMs = performance.now();
    lostAtMs ??= nowMs;
    if (nowMs - lostAtMs > options.giveUpAfterMs) {
      throw failure;
    }
    const delayMs = backoffMs * (0.5 + Math.random() / 2);
    options.onLost?.(failure, delayMs);
    await sleep(delayMs, undefined, { signal: options.signal });
    backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
  }
}
