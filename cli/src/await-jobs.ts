import { ConnectError } from "@connectrpc/connect";
import type { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import type { WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { CliError } from "./cli-error.js";
import type { Connection } from "./connection.js";
import { formatElapsed } from "./elapsed.js";
import { EXIT } from "./exit-codes.js";
import { firstAbort } from "./first-abort.js";
import { followJobs } from "./follow-jobs.js";
import { callAfter } from "./long-timer.js";
import type { Output } from "./output.js";
import { listenForShutdown } from "./shutdown.js";

export interface AwaitOptions {
  readonly timeoutMs: number | undefined;
  readonly giveUpAfterMs: number;
  readonly wasReached: boolean;
  readonly output: Output;
  readonly onUpdate: (update: WatchResponse) => void;
}

/** Follows jobs until all have ended; Ctrl-C and the timeout end the wait, never the jobs. */
export async function awaitJobs(
  connection: Connection,
  jobIds: readonly string[],
  options: AwaitOptions,
): Promise<ReadonlyMap<string, JobState>> {
  const shutdown = listenForShutdown({ drains: false });
  const timeout = new AbortController();
  const stopTimer =
    options.timeoutMs === undefined ? undefined : callAfter(options.timeoutMs, () => timeout.abort());
  const updates = followJobs(connection.jobs, jobIds, {
    signal: firstAbort(shutdown.signal, timeout.signal),
    giveUpAfterMs: options.giveUpAfterMs,
    wasReached: options.wasReached,
    onLost: (error, delayMs) =>
      options.output.remark(
        `The hub at ${connection.hubUrl} went away (${ConnectError.from(error).rawMessage}); trying again in ${formatElapsed(delayMs)}.`,
      ),
  });
  try {
    for (;;) {
      const step = await updates.next();
      if (step.done === true) {
        return step.value;
      }
      options.onUpdate(step.value);
    }
  } catch (error) {
    if (shutdown.signal.aborted) {
      throw shutdown.signal.reason;
    }
    if (timeout.signal.aborted) {
      throw new CliError("The --timeout passed while a job was still open; the job goes on.", {
        exitCode: EXIT.timedOut,
        reason: "TIMED_OUT",
        next: `Follow it again: holdfast watch ${jobIds[0] ?? "ID"}`,
        cause: error,
      });
    }
    throw error;
  } finally {
    stopTimer?.();
    shutdown.dispose();
  }
}
