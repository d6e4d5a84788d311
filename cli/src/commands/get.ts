import { toJson } from "@bufbuild/protobuf";
import { JobEventSchema, JobNoteSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS, jobJson } from "../job-json.js";
import { historyText, jobText, notesText } from "../job-text.js";
import { requireJob } from "./job-answer.js";

const AFTER_HELP = `
Examples:
  $ holdfast get 0198c7f0-…                      # state, times, outcome
  $ holdfast get 0198c7f0-… --history            # every state change
  $ holdfast get 0198c7f0-… --notes              # its newest effects
  $ holdfast get 0198c7f0-… --json | jq .job.resultValue`;

export function addGetCommand(program: Command, cli: Cli): void {
  program
    .command("get")
    .description("show one job, payload and outcome included")
    .argument("<id>", "id of the job")
    .option("--history", "also show every state change, oldest first")
    .option("--notes", "also show its newest notes, oldest first: effects that were completed or given up")
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, flags: { history?: boolean; notes?: boolean }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const hasHistory = flags.history === true;
        const hasNotes = flags.notes === true;
        const answer = await connection().jobs.get({
          jobId,
          includeHistory: hasHistory,
          includeNotes: hasNotes,
        });
        const job = requireJob(answer.job);
        const { history, notes, notesTruncated } = answer;
        const document = {
          job: jobJson(job),
          ...(hasHistory && { history: history.map((event) => toJson(JobEventSchema, event, JSON_OPTIONS)) }),
          ...(hasNotes && {
            notes: notes.map((note) => toJson(JobNoteSchema, note, JSON_OPTIONS)),
            notesTruncated,
          }),
        };
        output.document(document, () =>
          [
            jobText(job, io.nowMs(), output.paint),
            ...(hasHistory ? [historyText(history, output.paint)] : []),
            ...(hasNotes ? [notesText(notes, notesTruncated, output.paint)] : []),
          ].join("\n\n"),
        );
        return EXIT.ok;
      }),
    );
}
