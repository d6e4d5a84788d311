import type { Command } from "commander";
import { type Cli, perform } from "../invocation.js";
import { answerWithJob } from "./job-answer.js";

const AFTER_HELP = `
Examples:
  $ holdfast list --state dead
  $ holdfast retry 0198c7f0-… --reason "fixed in 1.4.2"`;

export function addRetryCommand(program: Command, cli: Cli): void {
  program
    .command("retry")
    .description("send a dead-lettered job back to ready, with a fresh count of attempts")
    .argument("<id>", "id of the job")
    .option("--reason <text>", "why, for the history")
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, flags: { reason?: string }, command: Command) =>
      perform(cli, command, async (invocation) => {
        const { job } = await invocation.connection().jobs.retry({ jobId, reason: flags.reason ?? "" });
        return answerWithJob(job, invocation);
      }),
    );
}
