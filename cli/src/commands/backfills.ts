import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Backfill, WindowState } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { wholeNumber } from "../arguments/number.js";
import { parseTime } from "../arguments/time.js";
import {
  BACKFILL_HEADINGS,
  backfillJson,
  backfillRow,
  backfillText,
  utc,
  WINDOW_HEADINGS,
  windowJson,
  windowRow,
} from "../backfill-text.js";
import { CliError, usageError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { oneOf, WINDOW_STATE_WORDS } from "../job-words.js";
import { type JustificationFlags, justification, withReasonAndTicket } from "../justification-options.js";
import { takeItems } from "../pages.js";
import { type TemplateFlags, templateSpec, withTemplate } from "../template-options.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
A backfill cuts a range of event time into windows and runs a job for each, at a pace. Windows that are done
are skipped, those that live jobs are at are left to them. docs/schedules.md says how jobs declare windows.

Examples:
  $ holdfast backfills preview clicks --from 2027-01-01T00:00:00Z --to 2027-02-01T00:00:00Z --step 1h
  $ holdfast backfills start clicks --from 2027-01-01T00:00:00Z --to 2027-02-01T00:00:00Z --step 1h \\
      --kind clicks.load --in-flight 20 --reason "the hole of January" --ticket OPS-17
  $ holdfast backfills windows 0198c7f0-… --state failed
  $ holdfast backfills pause 0198c7f0-… --reason "the source is slow" --ticket OPS-17`;

interface RangeFlags {
  readonly from: Date;
  readonly to: Date;
  readonly step: number;
}

interface StartFlags extends RangeFlags, TemplateFlags, Required<JustificationFlags> {
  readonly inFlight?: number;
  readonly perMinute?: number;
}

interface CancelFlags extends JustificationFlags {
  readonly open?: boolean;
  readonly grace?: number;
}

export function addBackfillsCommand(program: Command, cli: Cli): void {
  const backfills = program
    .command("backfills")
    .description("work over past event time: preview, start, watch, pause, cancel")
    .addHelpText("after", AFTER_HELP);

  addPreview(backfills, cli);
  addStart(backfills, cli);

  backfills
    .command("ls")
    .description("list backfills, newest first")
    .action((_flags: unknown, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const client = connection().backfills;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list(page);
          return { items: answer.backfills, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: BACKFILL_HEADINGS,
          row: (backfill) => backfillRow(backfill, output.paint),
          json: backfillJson,
          nothing: "There are no backfills.",
        });
        return EXIT.ok;
      }),
    );

  backfills
    .command("get")
    .description("show one backfill as it is now")
    .argument("<id>", "id of the backfill")
    .action((backfillId: string, _flags: unknown, command: Command) =>
      perform(cli, command, async (invocation) =>
        answerWithBackfill(
          (await invocation.connection().backfills.get({ backfillId })).backfill,
          invocation,
        ),
      ),
    );

  addWindows(backfills, cli);

  for (const [act, description] of [
    ["pause", "submit no more windows; those that are submitted go on"],
    ["resume", "go on"],
  ] as const)
    withReasonAndTicket(backfills.command(act).description(description))
      .argument("<id>", "id of the backfill")
      .action((backfillId: string, flags: JustificationFlags, command: Command) =>
        perform(cli, command, async (invocation) => {
          const request = { backfillId, justification: justification(flags) };
          return answerWithBackfill(
            (await invocation.connection().backfills[act](request)).backfill,
            invocation,
          );
        }),
      );

  withReasonAndTicket(backfills.command("cancel").description("end it; what is done stays done"))
    .argument("<id>", "id of the backfill")
    .option("--open", "cancel its open jobs too")
    .option("--grace <duration>", "with --open: what running jobs are given to stop", parseDurationMs)
    .action((backfillId: string, flags: CancelFlags, command: Command) =>
      perform(cli, command, async (invocation) => {
        if (flags.grace !== undefined && flags.open !== true)
          throw usageError("--grace is for --open.", "Add --open, or leave --grace out.");
        const { backfill } = await invocation.connection().backfills.cancel({
          backfillId,
          justification: justification(flags),
          cancelOpen: flags.open === true,
          ...(flags.grace === undefined ? {} : { grace: durationFromMs(flags.grace) }),
        });
        return answerWithBackfill(backfill, invocation);
      }),
    );
}

function withRange(command: Command): Command {
  const toTime = (text: string) => parseTime(text);
  return command
    .argument("<source>", "source of the work")
    .requiredOption("--from <time>", "begin: 2027-01-01T00:00:00Z, or -30d", toTime)
    .requiredOption("--to <time>", "end, exclusive", toTime)
    .requiredOption("--step <duration>", "length of a window: 15m, 1h, 24h", parseDurationMs);
}

const rangeOf = (source: string, { from, to, step }: RangeFlags) => ({
  source,
  from: timestampFromDate(from),
  to: timestampFromDate(to),
  step: durationFromMs(step),
});

function addPreview(backfills: Command, cli: Cli): void {
  withRange(backfills.command("preview").description("say what a backfill would do, and do nothing"))
    .addHelpText("after", AFTER_HELP)
    .action((source: string, flags: RangeFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const answer = await connection().backfills.preview({ range: rangeOf(source, flags) });
        const { total, done, open, toRun, first } = answer;
        const firsts = first.map(({ from, to }) => ({ from: utc(from), to: utc(to) }));
        output.document({ total, done, open, toRun, first: firsts }, () =>
          [
            `${total} windows: ${done} done, ${open} that live jobs are at, ${toRun} to run`,
            ...firsts.map(({ from, to }) => `  ${from} to ${to}`),
            ...(toRun > firsts.length ? ["  …"] : []),
          ].join("\n"),
        );
        return EXIT.ok;
      }),
    );
}

function addStart(backfills: Command, cli: Cli): void {
  const command = withRange(backfills.command("start").description("start a backfill"));
  withReasonAndTicket(withTemplate(command))
    .option("--in-flight <windows>", "windows open at once; 10 when absent", wholeNumber(1, 10_000))
    .option("--per-minute <windows>", "windows submitted per minute", wholeNumber(1, 60_000))
    .addHelpText("after", AFTER_HELP)
    .action((source: string, flags: StartFlags, action: Command) =>
      perform(cli, action, async (invocation) => {
        const { backfill } = await invocation.connection().backfills.start({
          range: rangeOf(source, flags),
          job: await templateSpec(flags, invocation.io),
          inFlightMax: flags.inFlight ?? 0,
          perMinuteMax: flags.perMinute ?? 0,
          justification: justification(flags),
        });
        return answerWithBackfill(backfill, invocation);
      }),
    );
}

function addWindows(backfills: Command, cli: Cli): void {
  const states = Object.keys(WINDOW_STATE_WORDS).join(", ");
  backfills
    .command("windows")
    .description("list windows of a backfill in order of time")
    .argument("<id>", "id of the backfill")
    .option("--state <state>", `only in this state: ${states}`, oneOf(WINDOW_STATE_WORDS))
    .option("--limit <windows>", "at most so many", wholeNumber(1, 1_000_000), 100)
    .action(
      (
        backfillId: string,
        flags: { readonly state?: WindowState; readonly limit: number },
        command: Command,
      ) =>
        perform(cli, command, async ({ output, connection }) => {
          const client = connection().backfills;
          const pages = takeItems(flags.limit, async (page) => {
            const answer = await client.listWindows({ ...page, backfillId, state: flags.state ?? 0 });
            return { items: answer.windows, nextPageToken: answer.nextPageToken };
          });
          const listed = await writeItems(output, pages, {
            headings: WINDOW_HEADINGS,
            row: (window) => windowRow(window, output.paint),
            json: windowJson,
            nothing: "No windows match.",
          });
          if (listed === flags.limit) {
            output.remark(`The first ${listed}; --limit shows more.`);
          }
          return EXIT.ok;
        }),
    );
}

function answerWithBackfill(backfill: Backfill | undefined, { io, output }: Invocation): ExitCode {
  if (backfill === undefined) {
    throw new CliError("The hub answered without a backfill.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  output.document({ backfill: backfillJson(backfill) }, () =>
    backfillText(backfill, io.nowMs(), output.paint),
  );
  return EXIT.ok;
}
