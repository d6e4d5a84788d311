import { toJson } from "@bufbuild/protobuf";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { type WatchResponse, WatchResponseSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { awaitJobs } from "../await-jobs.js";
import { usageError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { FOLLOWED_JOBS_MAX } from "../follow-jobs.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { eventText } from "../job-text.js";
import type { Output } from "../output.js";

/** How long a hub may stay away, by default, before a watch ends with code 6. */
export const GIVE_UP_AFTER_MS = 600_000;

const AFTER_HELP = `
Shows what happened so far, then what happens, until every job has ended. A lost connection is dialled again
and resumed after the last event seen. Exits 0 when every job succeeded, 7 when one did not.

Examples:
  $ holdfast watch 0198c7f0-…
  $ holdfast watch $(holdfast list --state leased --json | jq -r .id) --json`;

interface WatchFlags {
  readonly timeout?: number;
  readonly giveUpAfter: number;
}

export function addWatchCommand(program: Command, cli: Cli): void {
  program
    .command("watch")
    .description("follow jobs until they have ended")
    .argument("<ids...>", "ids of jobs")
    .option("--timeout <duration>", "stop watching after this time (exit code 9)", parseDurationMs)
    .option("--give-up-after <duration>", "how long the hub may stay away", parseDurationMs, GIVE_UP_AFTER_MS)
    .addHelpText("after", AFTER_HELP)
    .action((ids: string[], flags: WatchFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const jobIds = [...new Set(ids)];
        if (jobIds.length > FOLLOWED_JOBS_MAX) {
          throw usageError(
            `${jobIds.length} jobs are too many for one watch.`,
            `Name at most ${FOLLOWED_JOBS_MAX}, or list them by a label: holdfast list --label key=value.`,
          );
        }
        const states = await awaitJobs(connection(), jobIds, {
          timeoutMs: flags.timeout,
          giveUpAfterMs: flags.giveUpAfter,
          wasReached: false,
          output,
          onUpdate: (update) => writeUpdate(output, update),
        });
        return exitCodeOf(states.values());
      }),
    );
}

export function writeUpdate(output: Output, response: WatchResponse): void {
  output.item(toJson(WatchResponseSchema, response, JSON_OPTIONS));
  const { update } = response;
  if (update.case === "event") {
    output.line(eventText(update.value, output.paint));
  } else if (update.case === "progress" && update.value.progress !== undefined) {
    const { percent, message } = update.value.progress;
    output.line(output.paint.faint(`${update.value.jobId}  ${Math.round(percent)} % ${message}`));
  }
}

export function exitCodeOf(states: Iterable<JobState>): ExitCode {
  return [...states].every((state) => state === JobState.SUCCEEDED) ? EXIT.ok : EXIT.jobNotSucceeded;
}
