import { EXIT, type ExitCode } from "./exit-codes.js";

interface CliErrorInit {
  readonly exitCode: ExitCode;
  /** Stable word in UPPER_SNAKE: the hub's reason, or one of the command's own. */
  readonly reason: string;
  /** What the user can do about it. */
  readonly next?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly cause?: unknown;
}

/** An expected way for a command to end badly: what went wrong, and what to do next. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: ExitCode;
  readonly reason: string;
  readonly next: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(message: string, init: CliErrorInit) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.exitCode = init.exitCode;
    this.reason = init.reason;
    this.next = init.next;
    this.metadata = init.metadata ?? {};
  }
}

/** The command line, or a file it names, is not valid. */
export function usageError(message: string, next?: string): CliError {
  return new CliError(message, { exitCode: EXIT.usage, reason: "USAGE", next });
}
