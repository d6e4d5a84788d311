import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { ExplainResponseSchema } from "@holdfast/gen/holdfast/v1/explain_pb";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.js";
import { explainText } from "../explain-text.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";

const AFTER_HELP = `
Examples:
  $ holdfast explain 0198c7f0-…                  # what keeps it, who could take it, where it ran
  $ holdfast explain 0198c7f0-… --json | jq -r '.reasons[].message'`;

export function addExplainCommand(program: Command, cli: Cli): void {
  program
    .command("explain")
    .description("say why a job does not run, and why it ran where it did")
    .argument("<id>", "id of the job")
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, _flags: unknown, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const answer = await connection().jobs.explain({ jobId });
        const document = toJson(ExplainResponseSchema, answer, JSON_OPTIONS) as JsonObject;
        output.document(document, () => explainText(answer, io.nowMs(), output.paint));
        return EXIT.ok;
      }),
    );
}
