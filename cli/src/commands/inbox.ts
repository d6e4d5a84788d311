import type { InboxEntry } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import type { Command } from "commander";
import { CliError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { INBOX_HEADINGS, inboxJson, inboxRow, inboxText } from "../inbox-text.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { type JustificationFlags, justification, withOptionalReason } from "../justification-options.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
The inbox holds what holdfast.submit() enqueued in SQL and no hub has adopted yet; that takes milliseconds. What hubs
cannot adopt stays there, with the reason.

Examples:
  $ holdfast inbox ls --refused
  $ holdfast inbox retry 0198c7f0-…
  $ holdfast inbox discard 0198c7f0-… --reason "the order was cancelled"`;

export function addInboxCommand(program: Command, cli: Cli): void {
  const inbox = program
    .command("inbox")
    .description("list what was submitted from SQL and is no job yet; retry or discard what was refused")
    .addHelpText("after", AFTER_HELP);

  inbox
    .command("ls")
    .description("list the entries, newest first")
    .option("--refused", "only those that hubs cannot adopt")
    .addHelpText("after", AFTER_HELP)
    .action((flags: { readonly refused?: boolean }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().inbox;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list({ ...page, refusedOnly: flags.refused === true });
          return { items: answer.entries, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: INBOX_HEADINGS,
          row: (entry) => inboxRow(entry, io.nowMs(), output.paint),
          json: inboxJson,
          nothing: flags.refused === true ? "Nothing was refused." : "The inbox is empty.",
        });
        return EXIT.ok;
      }),
    );

  withOptionalReason(inbox.command("retry").description("let hubs try a refused entry again"))
    .argument("<id>", "id of the job to be")
    .action((jobId: string, flags: Partial<JustificationFlags>, command: Command) =>
      perform(cli, command, async (invocation) => {
        const request = { jobId, justification: justification(flags) };
        return answerWithEntry((await invocation.connection().inbox.retry(request)).entry, invocation);
      }),
    );

  withOptionalReason(
    inbox.command("discard").description("remove a refused entry for good; shows what it was"),
  )
    .argument("<id>", "id of the job to be")
    .action((jobId: string, flags: Partial<JustificationFlags>, command: Command) =>
      perform(cli, command, async (invocation) => {
        const request = { jobId, justification: justification(flags) };
        return answerWithEntry((await invocation.connection().inbox.discard(request)).entry, invocation);
      }),
    );
}

function answerWithEntry(entry: InboxEntry | undefined, { io, output }: Invocation): ExitCode {
  if (entry === undefined) {
    throw new CliError("The hub answered without an entry.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  output.document({ entry: inboxJson(entry) }, () => inboxText(entry, io.nowMs(), output.paint));
  return EXIT.ok;
}
