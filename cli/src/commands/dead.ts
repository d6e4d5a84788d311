import type { Command } from "commander";
import { wholeNumber } from "../arguments/number.js";
import { CliError } from "../cli-error.js";
import { type DeadFilterFlags, deadFilter, withDeadFilter } from "../dead-filter.js";
import {
  CLUSTER_HEADINGS,
  clusterJson,
  clusterRow,
  DEAD_HEADINGS,
  deadJson,
  deadRow,
  deadText,
} from "../dead-text.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { takeItems } from "../pages.js";
import { formatTable } from "../table.js";
import { addDeadRetryCommand } from "./dead-retry.js";
import { writeItems } from "./item-list.js";
import { writeResults } from "./result-list.js";

const AFTER_HELP = `
A dead letter is a job that failed for good. Find out what they died of, mend it, and send them back; or resolve those
that nobody needs any more.

Examples:
  $ holdfast dead clusters
  $ holdfast dead ls --class rate-limited --after -1h
  $ holdfast dead retry --fingerprint 3f9a0c2b7d10            # shows what would be retried
  $ holdfast dead retry --fingerprint 3f9a0c2b7d10 --yes --batch 50 --pause 2s
  $ holdfast dead resolve 0198c7f0-… --note "the order was cancelled"`;

export function addDeadCommand(program: Command, cli: Cli): void {
  const dead = program
    .command("dead")
    .description("dead letters: list, show, group, retry or resolve them")
    .addHelpText("after", AFTER_HELP);

  withDeadFilter(dead.command("ls").description("list dead letters, the newest death first"))
    .option("--resolved", "resolved ones too")
    .option("--limit <letters>", "at most so many", wholeNumber(1, 1_000_000), 50)
    .option("--all", "all of them, however many")
    .addHelpText("after", AFTER_HELP)
    .action((flags: DeadFilterFlags & { limit: number; all?: boolean }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().deadLetters;
        const filter = deadFilter(flags);
        const limit = flags.all === true ? Number.POSITIVE_INFINITY : flags.limit;
        const pages = takeItems(limit, async (page) => {
          const answer = await client.list({ ...page, filter });
          return { items: answer.letters, nextPageToken: answer.nextPageToken };
        });
        const listed = await writeItems(output, pages, {
          headings: DEAD_HEADINGS,
          row: (letter) => deadRow(letter, io.nowMs(), output.paint),
          json: deadJson,
          nothing: "No dead letters match.",
        });
        if (listed === limit) {
          output.remark(`The newest ${listed}; --limit and --all show more.`);
        }
        return EXIT.ok;
      }),
    );

  dead
    .command("show")
    .description("show one dead letter; `holdfast get ID --history` has the rest of the job")
    .argument("<id>", "id of the job")
    .action((jobId: string, _flags: unknown, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { letter } = await connection().deadLetters.get({ jobId });
        if (letter === undefined) {
          throw new CliError("The hub answered without a dead letter.", {
            exitCode: EXIT.unexpected,
            reason: "EMPTY_ANSWER",
          });
        }
        output.document({ letter: deadJson(letter) }, () => deadText(letter, io.nowMs(), output.paint));
        return EXIT.ok;
      }),
    );

  withDeadFilter(dead.command("clusters").description("group dead letters by what they died of"))
    .option("--resolved", "resolved ones too")
    .addHelpText("after", AFTER_HELP)
    .action((flags: DeadFilterFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const answer = await connection().deadLetters.listClusters({ filter: deadFilter(flags) });
        const { clusters, letters, truncated } = answer;
        output.document({ clusters: clusters.map(clusterJson), letters, truncated }, () =>
          clusters.length === 0
            ? "No dead letters match."
            : formatTable(
                CLUSTER_HEADINGS,
                clusters.map((cluster) => clusterRow(cluster, io.nowMs())),
                output.paint,
              ),
        );
        if (truncated) {
          output.remark(`The newest ${letters}; --before shows older ones.`);
        }
        return EXIT.ok;
      }),
    );

  addDeadRetryCommand(dead, cli);

  dead
    .command("resolve")
    .description("note that dead letters are dealt with: they stay, and no retry by filter takes them")
    .argument("<ids...>", "ids of the jobs, at most 500")
    .requiredOption("--note <text>", "why they need no retry; it is kept")
    .action((jobIds: string[], flags: { readonly note: string }, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const { results } = await connection().deadLetters.resolve({ jobs: { jobIds }, note: flags.note });
        return writeResults(output, results, "resolved");
      }),
    );
}
