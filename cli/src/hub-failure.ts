import { CliError } from "./cli-error.js";
import { EXIT } from "./exit-codes.js";

/** Codes of the operating system, and the class of SQLSTATE, for a database that refuses a connection. */
const UNREACHABLE = /^(ECONN|ENOTFOUND|ETIMEDOUT|EHOSTUNREACH|EAI_AGAIN|08|28|3D|57P)/;

/** SQLSTATEs of a lock that others held for too long, or that two waited for crosswise. */
const LOCKED = /^(55P03|40P01)$/;

/** What the operator is told when a hub, or a ledger, could not be opened or worked on. */
export function hubFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CliError) {
    return error;
  }
  const code = codeOf(error);
  // Several addresses of one name fail as one error without a message.
  const message = error.message === "" ? code : error.message;
  if (UNREACHABLE.test(code)) {
    return new CliError(`The ledger cannot be opened: ${message}.`, {
      exitCode: EXIT.unavailable,
      reason: "LEDGER_UNAVAILABLE",
      next: "Check --database-url (HOLDFAST_DATABASE_URL): host, port, user, password and database.",
      cause: error,
    });
  }
  if (LOCKED.test(code)) {
    return new CliError(`The ledger is in use: ${message}.`, {
      exitCode: EXIT.unavailable,
      reason: "LEDGER_LOCKED",
      next: "Run it again: what was done before stays done, and it goes on with the rest.",
      cause: error,
    });
  }
  return new CliError(message, {
    exitCode: EXIT.refused,
    reason: "CANNOT_OPEN",
    next: "`holdfast doctor` looks for common causes; `holdfast help hub` lists every option.",
    cause: error,
  });
}

function codeOf(error: Error): string {
  if ("code" in error && typeof error.code === "string") {
    return error.code;
  }
  return error.cause instanceof Error ? codeOf(error.cause) : "";
}
