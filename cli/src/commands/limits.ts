import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type {
  BlackoutWindowSchema,
  Limit,
  LimitSettingsSchema,
  LimitTargetSchema,
  LimitType,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { type Command, Option } from "commander";
import { collectWindow, WINDOW_HELP } from "../arguments/blackout-window.js";
import { parseDurationMs } from "../arguments/duration.js";
import { parseLimitTarget, TARGET_HELP } from "../arguments/limit-target.js";
import { parseMicroUsd } from "../arguments/money.js";
import { wholeNumber } from "../arguments/number.js";
import { CliError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { oneOf } from "../job-words.js";
import { LIMIT_HEADINGS, LIMIT_TYPE_WORDS, limitJson, limitRow, limitText } from "../limit-text.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";
import { addRateCommands } from "./limits-rates.js";

const AFTER_HELP = `
A limit stands before all jobs of its target: ${TARGET_HELP}. While it is shut
nothing starts there, on any hub; what runs goes on. Every change is kept: \`holdfast operations\`.

Examples:
  $ holdfast limits pause queue:shop/mail --reason "the provider is down"
  $ holdfast limits resume queue:shop/mail
  $ holdfast limits blackout product:reports --window "mon-fri 08:00-18:00" --zone Europe/Berlin
  $ holdfast limits rate source:mailer --per-second 200 --adaptive
  $ holdfast limits quota product:shop --starts 5000 --reason "plan S" --ticket SALES-12
  $ holdfast limits breaker source:mailer --ratio 0.3
  $ holdfast limits cap queue:shop/mail --jobs 20
  $ holdfast limits cap key:customer-7 --jobs 2
  $ holdfast limits seats product:shop --max 50 --preemption --grace 30s
  $ holdfast limits ls --shut
  $ holdfast limits get pause queue:shop/mail`;

type Target = MessageInitShape<typeof LimitTargetSchema>;
type Settings = NonNullable<MessageInitShape<typeof LimitSettingsSchema>["settings"]>;

export interface JustifyingFlags {
  readonly reason: string;
  readonly ticket: string;
}

export function addLimitsCommand(program: Command, cli: Cli): void {
  const limits = program
    .command("limits")
    .description("show and set what holds work back")
    .addHelpText("after", AFTER_HELP);

  limits
    .command("ls")
    .description("list limits and their live states")
    .addOption(typeOption())
    .option("--shut", "only those that are shut now")
    .action((flags: { readonly type?: LimitType; readonly shut?: boolean }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().limits;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const shutOnly = flags.shut === true;
          const answer = await client.list({ ...page, shutOnly, ...(flags.type && { type: flags.type }) });
          return { items: answer.limits, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: LIMIT_HEADINGS,
          row: (limit) => limitRow(limit, io.nowMs(), output.paint),
          json: limitJson,
          nothing: flags.shut === true ? "No limit is shut." : "No limit is set.",
        });
        return EXIT.ok;
      }),
    );

  limits
    .command("get")
    .description("show one limit, and what waits at it")
    .argument("<type>", Object.keys(LIMIT_TYPE_WORDS).join(", "), oneOf(LIMIT_TYPE_WORDS))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .action((type: LimitType, target: Target, _flags: object, command: Command) =>
      perform(cli, command, async (invocation) =>
        showLimit((await invocation.connection().limits.get({ type, target })).limit, invocation),
      ),
    );

  justified(limits.command("rm").description("remove a limit; jobs that it stopped go on"))
    .argument("<type>", Object.keys(LIMIT_TYPE_WORDS).join(", "), oneOf(LIMIT_TYPE_WORDS))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .action((type: LimitType, target: Target, justification: JustifyingFlags, command: Command) =>
      perform(cli, command, (invocation) => removeLimit(type, target, justification, invocation)),
    );

  justified(limits.command("pause").description("let nothing start until it is resumed"))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .action((target: Target, flags: JustifyingFlags, command: Command) =>
      perform(cli, command, (invocation) =>
        setLimit(target, { case: "pause", value: {} }, flags, invocation),
      ),
    );

  justified(limits.command("resume").description("let jobs start again that a pause stopped"))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .action((target: Target, flags: JustifyingFlags, command: Command) =>
      perform(cli, command, (invocation) => removeLimit(LIMIT_TYPE_WORDS.pause, target, flags, invocation)),
    );

  justified(limits.command("blackout").description("let nothing start at times of the week"))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .requiredOption("--window <window>", `when, may be repeated: ${WINDOW_HELP}`, collectWindow)
    .option("--zone <name>", "time zone of the windows, like Europe/Berlin", "UTC")
    .action(
      (
        target: Target,
        flags: JustifyingFlags & {
          readonly window: MessageInitShape<typeof BlackoutWindowSchema>[];
          readonly zone: string;
        },
        command: Command,
      ) =>
        perform(cli, command, (invocation) => {
          const value = { timeZone: flags.zone, windows: flags.window };
          return setLimit(target, { case: "blackout", value }, flags, invocation);
        }),
    );

  addRateCommands<JustifyingFlags>(limits, justified, (target, settings, flags, command) =>
    perform(cli, command, (invocation) => setLimit(target, settings, flags, invocation)),
  );
  addMeteredCommands(limits, cli);
}

function addMeteredCommands(limits: Command, cli: Cli): void {
  justified(limits.command("cap").description("let so much be in flight at once"))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .option("--jobs <jobs>", "leases", wholeNumber(1, 1_000_000))
    .option("--cost <usd>", "what they are expected to cost, in US dollars", parseMicroUsd)
    .option("--tokens <tokens>", "tokens that they are expected to use", wholeNumber(1, 1e15))
    .action((target: Target, flags: JustifyingFlags & CapFlags, command: Command) =>
      perform(cli, command, (invocation) => {
        const { jobs = 0, cost = 0n, tokens = 0 } = flags;
        const value = { jobsMax: jobs, costMicroUsdMax: cost, tokensMax: BigInt(tokens) };
        return setLimit(target, { case: "cap", value }, flags, invocation);
      }),
    );

  justified(limits.command("seats").description("let so many jobs of a product be in flight at once"))
    .argument("<target>", "product:NAME", parseLimitTarget)
    .requiredOption("--max <jobs>", "leases", wholeNumber(1, 1_000_000))
    .option("--preemption", "critical jobs take seats from others")
    .option("--grace <duration>", "how long a preempted worker may save its work", parseDurationMs, 0)
    .action((target: Target, flags: JustifyingFlags & SeatsFlags, command: Command) =>
      perform(cli, command, (invocation) => {
        const grace = durationFromMs(flags.grace);
        const value = { max: flags.max, preemption: flags.preemption === true, grace };
        return setLimit(target, { case: "seats", value }, flags, invocation);
      }),
    );
}

interface CapFlags {
  readonly jobs?: number;
  readonly cost?: bigint;
  readonly tokens?: number;
}

interface SeatsFlags {
  readonly max: number;
  readonly preemption?: boolean;
  readonly grace: number;
}

function typeOption(): Option {
  return new Option("--type <type>", Object.keys(LIMIT_TYPE_WORDS).join(", ")).argParser(
    oneOf(LIMIT_TYPE_WORDS),
  );
}

export function justified(command: Command): Command {
  return command
    .option("--reason <text>", "why; kept with the change and shown to people", "")
    .option("--ticket <text>", "where it was agreed on; kept with the change", "");
}

async function setLimit(
  target: Target,
  settings: Settings,
  { reason, ticket }: JustifyingFlags,
  invocation: Invocation,
): Promise<ExitCode> {
  const client = invocation.connection().limits;
  const answer = await client.set({ target, settings: { settings }, justification: { reason, ticket } });
  return showLimit(answer.limit, invocation);
}

async function removeLimit(
  type: LimitType,
  target: Target,
  { reason, ticket }: JustifyingFlags,
  { output, connection }: Invocation,
): Promise<ExitCode> {
  await connection().limits.remove({ type, target, justification: { reason, ticket } });
  output.document({ removed: true }, () => "Removed; what waited there goes on.");
  return EXIT.ok;
}

export function showLimit(limit: Limit | undefined, { io, output }: Invocation): ExitCode {
  if (limit === undefined) {
    throw new CliError("The hub answered without a limit.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  output.document({ limit: limitJson(limit) }, () => limitText(limit, io.nowMs(), output.paint));
  return EXIT.ok;
}
