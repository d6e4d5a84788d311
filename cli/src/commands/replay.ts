import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  type Replay,
  type ReplayedJob,
  ReplayedJobSchema,
  ReplaySchema,
} from "@holdfast/gen/holdfast/v1/replay_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { awaitJobs } from "../await-jobs.js";
import { CliError, usageError } from "../cli-error.js";
import type { Connection } from "../connection.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { isDrifted, replayText } from "../replay-text.js";
import { GIVE_UP_AFTER_MS } from "./watch.js";

const AFTER_HELP = `
Submits a job that has ended once more, with the same inputs and seed: the id of a run replays all its jobs,
that of any other job the job alone. Idempotency keys and unique keys are not taken again, no compensation is
submitted, and effects that were completed are not done again. docs/runs.md tells more.

Examples:
  $ holdfast replay 0198c7f0-… --reason "does 1.5 find the same?" --wait   # exit code 11 when it drifted
  $ holdfast replay show 0198c7f5-…                                        # before and after, job by job
  $ holdfast replay show 0198c7f5-… --json | jq -r '.jobs[] | select(.verdict | endswith("DRIFTED")).jobId'`;

interface ReplayFlags {
  readonly reason: string;
  readonly repeatEffects?: boolean;
  readonly requestId?: string;
  readonly wait?: boolean;
  readonly timeout?: number;
}

const PAGE_SIZE_MAX = 500;
/** What follows the run's first job is looked at so often. */
const LOOK_EVERY_MS = 500;

export function addReplayCommand(program: Command, cli: Cli): void {
  const replay = program
    .command("replay")
    .description("submit an ended job or run once more, and compare what that comes to")
    .argument("<id>", "id of the job, or of the run")
    .option("--reason <text>", "why, for the history", "")
    .option("--repeat-effects", "do effects again that were completed")
    .option("--request-id <text>", "submitting again with it returns the first replay")
    .option(
      "--wait",
      "wait until all has ended, and show the comparison; exit code 11 when something drifted",
    )
    .option(
      "--timeout <duration>",
      "with --wait: stop waiting after this time (exit code 9)",
      parseDurationMs,
    )
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, flags: ReplayFlags, command: Command) =>
      perform(cli, command, (invocation) => {
        if (flags.timeout !== undefined && flags.wait !== true) {
          throw usageError("--timeout is for --wait.", "Add --wait, or leave --timeout out.");
        }
        return submitReplay(jobId, flags, invocation);
      }),
    );
  replay
    .command("show")
    .description("compare a replay with what it repeats, job by job; exit code 11 when something drifted")
    .argument("<id>", "id of the replay, or of any of its jobs")
    .action((id: string, _flags: object, command: Command) =>
      perform(cli, command, async (invocation) =>
        answer(await readReplay(invocation.connection(), id), invocation),
      ),
    );
}

async function submitReplay(jobId: string, flags: ReplayFlags, invocation: Invocation): Promise<ExitCode> {
  const { output } = invocation;
  const connection = invocation.connection();
  const { replayId, jobs, existing } = await connection.jobs.replay({
    requestId: flags.requestId ?? randomUUID(),
    jobId,
    reason: flags.reason,
    repeatEffects: flags.repeatEffects === true,
  });
  const remark = existing ? " (asked for before with this request id)" : "";
  if (flags.wait !== true) {
    output.document({ replayId, jobs, existing }, () => `${replayId}${remark}`);
    return EXIT.ok;
  }
  const startedAtMs = performance.now();
  output.remark(`Waiting for ${replayId}, ${jobs} ${jobs === 1 ? "job" : "jobs"}${remark}.`);
  await awaitJobs(connection, [replayId], {
    timeoutMs: flags.timeout,
    giveUpAfterMs: GIVE_UP_AFTER_MS,
    wasReached: true,
    output,
    onUpdate: () => {},
  });
  // What follows the run's first job is not waited for by it.
  for (;;) {
    const found = await readReplay(connection, replayId);
    if (found.replay.pending === 0) {
      return answer(found, invocation);
    }
    if (flags.timeout !== undefined && performance.now() - startedAtMs > flags.timeout) {
      throw new CliError("The --timeout passed while a job of the replay was still open; it goes on.", {
        exitCode: EXIT.timedOut,
        reason: "TIMED_OUT",
        next: `Look again: holdfast replay show ${replayId}`,
      });
    }
    await sleep(LOOK_EVERY_MS);
  }
}

interface FoundReplay {
  readonly replay: Replay;
  readonly jobs: readonly ReplayedJob[];
}

async function readReplay({ jobs: client }: Connection, replayId: string): Promise<FoundReplay> {
  const jobs: ReplayedJob[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.getReplay({ replayId, pageSize: PAGE_SIZE_MAX, pageToken });
    jobs.push(...page.jobs);
    pageToken = page.nextPageToken;
    if (page.replay === undefined) {
      throw new CliError("The hub answered without a replay.", {
        exitCode: EXIT.unexpected,
        reason: "EMPTY_ANSWER",
      });
    }
    if (pageToken === "") {
      return { replay: page.replay, jobs };
    }
  }
}

function answer({ replay, jobs }: FoundReplay, { io, output }: Invocation): ExitCode {
  const document: JsonValue = {
    replay: toJson(ReplaySchema, replay, JSON_OPTIONS),
    jobs: jobs.map((job) => toJson(ReplayedJobSchema, job, JSON_OPTIONS)),
  };
  output.document(document, () => replayText(replay, jobs, io.nowMs(), output.paint));
  return isDrifted(jobs) ? EXIT.drifted : EXIT.ok;
}
