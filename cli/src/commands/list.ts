import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Command } from "commander";
import { collectLabel, type Labels } from "../arguments/label.js";
import { collectWords } from "../arguments/list.js";
import { wholeNumber } from "../arguments/number.js";
import { parseTime } from "../arguments/time.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { jobJson } from "../job-json.js";
import { JOB_HEADINGS, jobRow } from "../job-text.js";
import { oneOf, STATE_WORDS } from "../job-words.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
With --json every job is one line, without payload and result: \`holdfast get ID\` has them.

Examples:
  $ holdfast list --state dead,scheduled
  $ holdfast list --kind scan.package --label run=7 --all --json | jq -r .id
  $ holdfast list --since -1h`;

interface ListFlags {
  readonly state?: readonly JobState[];
  readonly kind?: string;
  readonly queue?: string;
  readonly product?: string;
  readonly label?: Labels;
  readonly since?: Date;
  readonly limit: number;
  readonly all?: boolean;
}

export function addListCommand(program: Command, cli: Cli): void {
  program
    .command("list")
    .description("list jobs, newest first")
    .option("--state <states>", `only these: ${Object.keys(STATE_WORDS).join(", ")}`, collectStates)
    .option("--kind <kind>", "only this kind")
    .option("--queue <queue>", "only this queue")
    .option("--product <product>", "only this product")
    .option("--label <key=value>", "only jobs that carry it; may be repeated", collectLabel)
    .option("--since <time>", "only jobs submitted since: 2027-01-31T14:00:00Z, or -1h", (text) =>
      parseTime(text),
    )
    .option("--limit <jobs>", "at most so many", wholeNumber(1, 1_000_000), 50)
    .option("--all", "all of them, however many")
    .addHelpText("after", AFTER_HELP)
    .action((flags: ListFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { jobs } = connection();
        const filter = {
          states: [...(flags.state ?? [])],
          kind: flags.kind ?? "",
          queue: flags.queue ?? "",
          product: flags.product ?? "",
          labels: { ...flags.label },
          ...(flags.since === undefined ? {} : { submittedAfter: timestampFromDate(flags.since) }),
        };
        const limit = flags.all === true ? Number.POSITIVE_INFINITY : flags.limit;
        const pages = takeItems(limit, async (page) => {
          const answer = await jobs.list({ ...filter, ...page });
          return { items: answer.jobs, nextPageToken: answer.nextPageToken };
        });
        const listed = await writeItems(output, pages, {
          headings: JOB_HEADINGS,
          row: (job) => jobRow(job, io.nowMs(), output.paint),
          json: jobJson,
          nothing: "No jobs match.",
        });
        if (listed === limit) {
          output.remark(`The newest ${listed}; --limit and --all show more.`);
        }
        return EXIT.ok;
      }),
    );
}

function collectStates(text: string, earlier: readonly JobState[] = []): readonly JobState[] {
  return [...earlier, ...collectWords(text).map(oneOf(STATE_WORDS))];
}
