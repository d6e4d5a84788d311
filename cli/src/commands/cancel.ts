import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { type Cli, perform } from "../invocation.js";
import { answerWithJob } from "./job-answer.js";

const AFTER_HELP = `
Without --grace the job is cancelled at once, and whatever its worker still reports is refused. With it the
worker has that long to stop by itself.

Examples:
  $ holdfast cancel 0198c7f0-… --reason "wrong input"
  $ holdfast cancel 0198c7f0-… --grace 30s`;

export function addCancelCommand(program: Command, cli: Cli): void {
  program
    .command("cancel")
    .description("cancel an open job")
    .argument("<id>", "id of the job")
    .option("--reason <text>", "why, for the history")
    .option("--grace <duration>", "time for the worker of a running job to stop by itself", parseDurationMs)
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, flags: { reason?: string; grace?: number }, command: Command) =>
      perform(cli, command, async (invocation) => {
        const { job } = await invocation.connection().jobs.cancel({
          jobId,
          reason: flags.reason ?? "",
          ...(flags.grace === undefined ? {} : { grace: durationFromMs(flags.grace) }),
        });
        return answerWithJob(job, invocation);
      }),
    );
}
