import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Cadence,
  CadenceSchema,
  type CatchUpPolicy,
  type OverlapPolicy,
  type Schedule,
} from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { wholeNumber } from "../arguments/number.js";
import { parseTime } from "../arguments/time.js";
import { CliError, usageError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { CATCH_UP_POLICY_WORDS, OVERLAP_POLICY_WORDS, oneOf } from "../job-words.js";
import { type JustificationFlags, justification, withReason } from "../justification-options.js";
import { takeItems } from "../pages.js";
import { SCHEDULE_HEADINGS, scheduleJson, scheduleRow, scheduleText } from "../schedule-text.js";
import { type TemplateFlags, templateSpec, withTemplate } from "../template-options.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
A schedule submits a job again and again: by the calendar of a time zone, or at intervals. docs/schedules.md
says what happens when clocks change, when the last job has not ended, and after a time without any hub.

Examples:
  $ holdfast schedules next --cron "30 2 * * *" --zone Europe/Berlin
  $ holdfast schedules set nightly --cron "30 2 * * *" --zone Europe/Berlin --kind report \\
      --reason "asked for by sales"
  $ holdfast schedules set poll --every 30s --kind poll --overlap queue-one --reason "new source"
  $ holdfast schedules pause nightly --reason "the database moves"
  $ holdfast schedules trigger nightly --reason "once more, with the corrected prices"`;

interface CadenceFlags {
  readonly cron?: string;
  readonly zone?: string;
  readonly every?: number;
  readonly anchor?: Date;
}

interface SetFlags extends CadenceFlags, TemplateFlags, JustificationFlags {
  readonly overlap?: OverlapPolicy;
  readonly replaceGrace?: number;
  readonly catchUp?: CatchUpPolicy;
  readonly catchUpWindow?: number;
  readonly jitter?: number;
  readonly startsAt?: Date;
  readonly endsAt?: Date;
  readonly eventSource?: string;
}

export function addSchedulesCommand(program: Command, cli: Cli): void {
  const schedules = program
    .command("schedules")
    .description("jobs that are submitted again and again: set, list, show, pause, trigger")
    .addHelpText("after", AFTER_HELP);

  addSet(schedules, cli);
  addList(schedules, cli);
  addNext(schedules, cli);

  schedules
    .command("get")
    .description("show one schedule as it is now")
    .argument("<name>", "name of the schedule")
    .action((name: string, _flags: unknown, command: Command) =>
      perform(cli, command, async (invocation) =>
        answerWithSchedule((await invocation.connection().schedules.get({ name })).schedule, invocation),
      ),
    );

  const acts = {
    pause: "let times pass from now on",
    resume: "go on with the next time",
    rm: "remove it; its jobs stay; shows what it was",
  } as const;
  for (const [act, description] of Object.entries(acts) as [keyof typeof acts, string][])
    withReason(schedules.command(act).description(description))
      .argument("<name>", "name of the schedule")
      .action((name: string, flags: JustificationFlags, command: Command) =>
        perform(cli, command, async (invocation) => {
          const client = invocation.connection().schedules;
          const request = { name, justification: justification(flags) };
          const { schedule } = await (act === "rm" ? client.delete(request) : client[act](request));
          return answerWithSchedule(schedule, invocation);
        }),
      );

  withReason(schedules.command("trigger").description("fire once more, now"))
    .argument("<name>", "name of the schedule")
    .action((name: string, flags: JustificationFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const answer = await connection().schedules.trigger({ name, justification: justification(flags) });
        const { jobId, waiting } = answer;
        output.document({ jobId, waiting }, () => {
          if (jobId !== "") return jobId;
          return waiting ? "It waits until the newest job has ended." : "Passed: the newest job is open.";
        });
        return EXIT.ok;
      }),
    );
}

function withCadence(command: Command): Command {
  return command
    .option("--cron <expression>", "by the calendar: minute, hour, day of month, month, day of week")
    .option("--zone <zone>", "with --cron: time zone, such as Europe/Berlin; UTC when absent")
    .option("--every <duration>", "at intervals: 30s, 15m, 24h", parseDurationMs)
    .option("--anchor <time>", "with --every: one of the times", (text) => parseTime(text));
}

function addSet(schedules: Command, cli: Cli): void {
  const overlaps = Object.keys(OVERLAP_POLICY_WORDS).join(", ");
  const catchUps = Object.keys(CATCH_UP_POLICY_WORDS).join(", ");
  const command = schedules
    .command("set")
    .description("make a schedule, or change the one of this name")
    .argument("<name>", "name of the schedule");
  withReason(withTemplate(withCadence(command)))
    .option("--overlap <policy>", `while the newest job is open: ${overlaps}`, oneOf(OVERLAP_POLICY_WORDS))
    .option("--replace-grace <duration>", "with replace: what that job is given to stop", parseDurationMs)
    .option("--catch-up <policy>", `times that no hub could fire: ${catchUps}`, oneOf(CATCH_UP_POLICY_WORDS))
    .option("--catch-up-window <duration>", "older ones pass in any case; 24h when absent", parseDurationMs)
    .option("--jitter <duration>", "start each job up to so much later", parseDurationMs)
    .option("--starts-at <time>", "no time before", (text) => parseTime(text))
    .option("--ends-at <time>", "no time after", (text) => parseTime(text))
    .option("--event-source <source>", "jobs declare the window since the time before, for its watermark")
    .addHelpText("after", AFTER_HELP)
    .action((name: string, flags: SetFlags, action: Command) =>
      perform(cli, action, async (invocation) => {
        const { startsAt, endsAt, replaceGrace, catchUpWindow, jitter } = flags;
        const spec = {
          cadence: cadenceOf(flags),
          job: await templateSpec(flags, invocation.io),
          overlap: flags.overlap ?? 0,
          catchUp: flags.catchUp ?? 0,
          eventSource: flags.eventSource ?? "",
          ...(replaceGrace === undefined ? {} : { replaceGrace: durationFromMs(replaceGrace) }),
          ...(catchUpWindow === undefined ? {} : { catchUpWindow: durationFromMs(catchUpWindow) }),
          ...(jitter === undefined ? {} : { jitter: durationFromMs(jitter) }),
          ...(startsAt === undefined ? {} : { startsAt: timestampFromDate(startsAt) }),
          ...(endsAt === undefined ? {} : { endsAt: timestampFromDate(endsAt) }),
        };
        const client = invocation.connection().schedules;
        const { schedule } = await client.set({ name, spec, justification: justification(flags) });
        return answerWithSchedule(schedule, invocation);
      }),
    );
}

function addList(schedules: Command, cli: Cli): void {
  schedules
    .command("ls")
    .description("list schedules by name")
    .action((_flags: unknown, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().schedules;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list(page);
          return { items: answer.schedules, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: SCHEDULE_HEADINGS,
          row: (schedule) => scheduleRow(schedule, io.nowMs(), output.paint),
          json: scheduleJson,
          nothing: "There are no schedules.",
        });
        return EXIT.ok;
      }),
    );
}

function addNext(schedules: Command, cli: Cli): void {
  withCadence(schedules.command("next").description("show the next times of a schedule, or of a cadence"))
    .argument("[name]", "name of the schedule; without it, say --cron or --every")
    .option("--count <times>", "how many", wholeNumber(1, 100), 10)
    .option("--after <time>", "times after this one: 2027-03-28T00:00:00Z; now when absent", (text) =>
      parseTime(text),
    )
    .action(
      (
        name: string | undefined,
        flags: CadenceFlags & { readonly count: number; readonly after?: Date },
        command: Command,
      ) =>
        perform(cli, command, async ({ output, connection }) => {
          const { count, after } = flags;
          if (name !== undefined && (flags.cron ?? flags.every) !== undefined)
            throw usageError("A name and a cadence do not go together.", "Leave one of them out.");
          const { times } = await connection().schedules.previewTimes({
            target:
              name === undefined
                ? { case: "cadence", value: cadenceOf(flags) }
                : { case: "name", value: name },
            count,
            ...(after === undefined ? {} : { after: timestampFromDate(after) }),
          });
          const texts = times.map((at) => timestampDate(at).toISOString());
          output.document({ times: texts }, () => texts.join("\n") || "There are no more times.");
          return EXIT.ok;
        }),
    );
}

function cadenceOf({ cron, zone, every, anchor }: CadenceFlags): Cadence {
  if ((cron === undefined) === (every === undefined))
    throw usageError(
      "When? Say either --cron or --every.",
      'For example --cron "30 2 * * *" --zone Europe/Berlin, or --every 15m.',
    );
  if (every === undefined && anchor !== undefined)
    throw usageError("--anchor is for --every.", "Leave --anchor out.");
  if (cron === undefined && zone !== undefined)
    throw usageError("--zone is for --cron.", "Intervals have no zone; leave --zone out.");
  return create(CadenceSchema, {
    cadence:
      every === undefined
        ? { case: "cron", value: { expression: cron ?? "", zone: zone ?? "" } }
        : {
            case: "interval",
            value: {
              every: durationFromMs(every),
              ...(anchor === undefined ? {} : { anchor: timestampFromDate(anchor) }),
            },
          },
  });
}

function answerWithSchedule(schedule: Schedule | undefined, { io, output }: Invocation): ExitCode {
  if (schedule === undefined) {
    throw new CliError("The hub answered without a schedule.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  output.document({ schedule: scheduleJson(schedule) }, () =>
    scheduleText(schedule, io.nowMs(), output.paint),
  );
  return EXIT.ok;
}
