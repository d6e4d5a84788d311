import { toJson } from "@bufbuild/protobuf";
import { type Operation, OperationSchema } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { relative } from "../job-text.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
Every change that an operator makes, to limits, schedules, dead letters, keys and all the rest, is kept with who made it
and why, and with what stood there before (--json shows it). docs/operations.md lists the actions.

Examples:
  $ holdfast operations
  $ holdfast operations --target key:4k2m9x0a7c1d
  $ holdfast operations --target queue:default/mail`;

export function addOperationsCommand(program: Command, cli: Cli): void {
  program
    .command("operations")
    .description("list what operators changed, newest first")
    .option("--target <name>", "only changes of this", "")
    .addHelpText("after", AFTER_HELP)
    .action((flags: { readonly target: string }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().operations;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list({ target: flags.target, ...page });
          return { items: answer.operations, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: ["WHEN", "WHO", "ACTION", "TARGET", "REASON", "TICKET"],
          row: (operation) => operationRow(operation, io.nowMs()),
          json: (operation) => toJson(OperationSchema, operation, JSON_OPTIONS),
          nothing: "No operator has changed anything.",
        });
        return EXIT.ok;
      }),
    );
}

function operationRow({ at, subject, action, target, justification }: Operation, nowMs: number): string[] {
  return [
    relative(at, nowMs),
    subject || "-",
    action,
    target,
    justification?.reason || "-",
    justification?.ticket || "-",
  ];
}
