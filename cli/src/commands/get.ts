import { toJson } from "@bufbuild/protobuf";
import { JobEventSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS, jobJson } from "../job-json.js";
import { historyText, jobText } from "../job-text.js";
import { requireJob } from "./job-answer.js";

const AFTER_HELP = `
Examples:
  $ holdfast get 0198c7f0-…                      # state, times, outcome
  $ holdfast get 0198c7f0-… --history            # every state change
  $ holdfast get 0198c7f0-… --json | jq .job.resultValue`;

export function addGetCommand(program: Command, cli: Cli): void {
  program
    .command("get")
    .description("show one job, payload and outcome included")
    .argument("<id>", "id of the job")
    .option("--history", "also show every state change, oldest first")
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, flags: { history?: boolean }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const hasHistory = flags.history === true;
        const answer = await connection().jobs.get({ jobId, includeHistory: hasHistory });
        const job = requireJob(answer.job);
        const { history } = answer;
        const events = history.map((event) => toJson(JobEventSchema, event, JSON_OPTIONS));
        output.document(hasHistory ? { job: jobJson(job), history: events } : { job: jobJson(job) }, () => {
          const text = jobText(job, io.nowMs(), output.paint);
          return hasHistory ? `${text}\n\n${historyText(history, output.paint)}` : text;
        });
        return EXIT.ok;
      }),
    );
}
