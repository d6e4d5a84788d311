import { Command, CommanderError, Option } from "commander";
import { usageError } from "./cli-error.js";
import { addAuditCommand } from "./commands/audit.js";
import { addBackfillsCommand } from "./commands/backfills.js";
import { addBudgetsCommand } from "./commands/budgets.js";
import { addCancelCommand } from "./commands/cancel.js";
import { addCursorsCommand } from "./commands/cursors.js";
import { addDagCommand } from "./commands/dag.js";
import { addDeadCommand } from "./commands/dead.js";
import { addDoctorCommand } from "./commands/doctor.js";
import { addEffectsCommand } from "./commands/effects.js";
import { addEventsCommand } from "./commands/events.js";
import { addExitCodesCommand } from "./commands/exit-codes.js";
import { addExplainCommand } from "./commands/explain.js";
import { addFleetCommand } from "./commands/fleet.js";
import { addGetCommand } from "./commands/get.js";
import { addHubCommand } from "./commands/hub.js";
import { addInboxCommand } from "./commands/inbox.js";
import { addKeysCommand } from "./commands/keys.js";
import { addLimitsCommand } from "./commands/limits.js";
import { addListCommand } from "./commands/list.js";
import { addOperationsCommand } from "./commands/operations.js";
import { addProductsCommand } from "./commands/products.js";
import { addReplayCommand } from "./commands/replay.js";
import { addRetentionCommand } from "./commands/retention.js";
import { addRetryCommand } from "./commands/retry.js";
import { addRunCommand } from "./commands/run.js";
import { addSchedulesCommand } from "./commands/schedules.js";
import { addSessionsCommand } from "./commands/sessions.js";
import { addSignalsCommand } from "./commands/signals.js";
import { addStartCommand } from "./commands/start.js";
import { addStatusCommand } from "./commands/status.js";
import { addSubmitCommand } from "./commands/submit.js";
import { addWatchCommand } from "./commands/watch.js";
import { addWatermarksCommand } from "./commands/watermarks.js";
import { addWorkerCommand } from "./commands/worker.js";
import { DEFAULT_HUB_URL } from "./connection.js";
import { EXIT, type ExitCode } from "./exit-codes.js";
import type { Cli } from "./invocation.js";
import type { Io } from "./io.js";
import { createOutput } from "./output.js";
import { cliVersion } from "./version.js";

// The order in which --help lists the commands: from running, over jobs, to operating.
const ADD_COMMANDS = [
  addStartCommand,
  addHubCommand,
  addFleetCommand,
  addWorkerCommand,
  addSubmitCommand,
  addRunCommand,
  addGetCommand,
  addDagCommand,
  addExplainCommand,
  addListCommand,
  addWatchCommand,
  addCancelCommand,
  addRetryCommand,
  addReplayCommand,
  addDeadCommand,
  addEffectsCommand,
  addSignalsCommand,
  addCursorsCommand,
  addInboxCommand,
  addLimitsCommand,
  addSchedulesCommand,
  addBackfillsCommand,
  addWatermarksCommand,
  addBudgetsCommand,
  addKeysCommand,
  addStatusCommand,
  addSessionsCommand,
  addEventsCommand,
  addOperationsCommand,
  addAuditCommand,
  addProductsCommand,
  addRetentionCommand,
  addDoctorCommand,
  addExitCodesCommand,
] as const;

const AFTER_HELP = `
Examples:
  $ holdfast start                                  # hub, workers and a first workload
  $ holdfast submit greet --payload '{"name":"Ada"}' --wait
  $ holdfast list --state dead --json | jq -r .id

Environment: HOLDFAST_HUB, HOLDFAST_API_KEY and HOLDFAST_CA stand for --hub, --api-key and --ca; NO_COLOR
turns colours off. Exit codes: \`holdfast help exit-codes\`.`;

/** Runs one command line and returns the exit code; never throws and never ends the process. */
export async function runCli(args: readonly string[], io: Io): Promise<ExitCode> {
  const cli: Cli = { io, exitCode: EXIT.ok };
  const complaint: string[] = [];
  try {
    await createProgram(cli, (text) => complaint.push(text)).parseAsync([...args], { from: "user" });
    return cli.exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      throw error;
    }
    // Commander reports --help and --version as errors of code 0.
    if (error.exitCode === 0) {
      return EXIT.ok;
    }
    const output = createOutput(io, args.includes("--json"));
    if (error.code === "commander.help") {
      output.remark(complaint.join(""));
      output.error(usageError("A command is missing.", "Choose one of those that `--help` lists."));
    } else {
      output.error(
        usageError(error.message.replace(/^error: /, ""), "`holdfast help COMMAND` shows how to use it."),
      );
    }
    return EXIT.usage;
  }
}

/** Builds the commands. What commander complains about goes to `onComplaint`, for runCli to tell. */
export function createProgram(cli: Cli, onComplaint: (text: string) => void): Command {
  const program = new Command("holdfast");
  program
    .description("Leases durable jobs to workers over long-lived streams, on a Postgres ledger.")
    .version(cliVersion())
    .addOption(
      new Option("--hub <url>", "HTTP address of the hub").env("HOLDFAST_HUB").default(DEFAULT_HUB_URL),
    )
    .addOption(
      new Option("--api-key <api key>", "credential; better in the environment").env("HOLDFAST_API_KEY"),
    )
    .addOption(
      new Option("--ca <file>", "PEM file of the authority of the hub's certificate").env("HOLDFAST_CA"),
    )
    .option("--json", "write JSON to stdout: one document, or one line per item")
    .addHelpText("after", AFTER_HELP)
    .configureHelp({ showGlobalOptions: true, helpWidth: 110 })
    .configureOutput({
      writeOut: (text) => void cli.io.stdout.write(text),
      writeErr: onComplaint,
    })
    .showSuggestionAfterError(true)
    .exitOverride();
  for (const addCommand of ADD_COMMANDS) {
    addCommand(program, cli);
  }
  return program;
}
