import type { Command } from "commander";
import { WATERMARK_HEADINGS, watermarkJson, watermarkRow, watermarkText } from "../backfill-text.js";
import { CliError } from "../cli-error.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
All windows of a source up to its watermark are done, and it never goes back. What is done beyond it has gaps
before it: a backfill fills them.

Examples:
  $ holdfast watermarks ls
  $ holdfast watermarks get clicks`;

export function addWatermarksCommand(program: Command, cli: Cli): void {
  const watermarks = program
    .command("watermarks")
    .description("how far the event time of sources is done")
    .addHelpText("after", AFTER_HELP);

  watermarks
    .command("ls")
    .description("list sources by name")
    .action((_flags: unknown, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().backfills;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.listWatermarks(page);
          return { items: answer.watermarks, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: WATERMARK_HEADINGS,
          row: (watermark) => watermarkRow(watermark, io.nowMs(), output.paint),
          json: watermarkJson,
          nothing: "No job has declared a window.",
        });
        return EXIT.ok;
      }),
    );

  watermarks
    .command("get")
    .description("show one source with the ranges that are done")
    .argument("<source>", "the source")
    .action((source: string, _flags: unknown, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { watermark } = await connection().backfills.getWatermark({ source });
        if (watermark === undefined) {
          throw new CliError("The hub answered without a watermark.", {
            exitCode: EXIT.unexpected,
            reason: "EMPTY_ANSWER",
          });
        }
        output.document({ watermark: watermarkJson(watermark) }, () =>
          watermarkText(watermark, io.nowMs(), output.paint),
        );
        return EXIT.ok;
      }),
    );
}
