import { ConnectError } from "@connectrpc/connect";
import { type Command, CommanderError } from "commander";
import { callError } from "./call-error.js";
import { CliError } from "./cli-error.js";
import { type Connection, connect, DEFAULT_HUB_URL } from "./connection.js";
import { EXIT, type ExitCode } from "./exit-codes.js";
import type { Io } from "./io.js";
import { createOutput, type Output } from "./output.js";

/** What every action of a command is given. */
export interface Invocation {
  readonly io: Io;
  readonly output: Output;
  readonly globals: GlobalFlags;
  /** The clients for --hub; nothing is dialled before the first call. */
  readonly connection: () => Connection;
}

export interface GlobalFlags {
  readonly hub?: string;
  readonly apiKey?: string;
  readonly ca?: string;
  readonly json?: boolean;
}

/** One run of the command line. */
export interface Cli {
  readonly io: Io;
  /** Code that the process ends with; written by `perform` alone. */
  exitCode: ExitCode;
}

/** Runs the body of an action, and turns whatever it throws into a message and an exit code. */
export async function perform(
  cli: Cli,
  command: Command,
  body: (invocation: Invocation) => Promise<ExitCode>,
): Promise<void> {
  const globals = command.optsWithGlobals<GlobalFlags>();
  const output = createOutput(cli.io, globals.json === true);
  const hubUrl = globals.hub || DEFAULT_HUB_URL;
  const connection = () =>
    connect({ hubUrl, apiKey: globals.apiKey || undefined, caFile: globals.ca || undefined });
  try {
    cli.exitCode = await body({ io: cli.io, output, globals, connection });
  } catch (error) {
    if (error instanceof CommanderError) {
      throw error;
    }
    const told = error instanceof ConnectError ? callError(error, hubUrl) : asCliError(error);
    output.error(told);
    cli.exitCode = told.exitCode;
  }
}

function asCliError(error: unknown): CliError {
  if (error instanceof CliError) {
    return error;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliError(detail, {
    exitCode: EXIT.unexpected,
    reason: "UNEXPECTED",
    next: "This looks like a defect of holdfast: please report it with the text above.",
    cause: error,
  });
}
