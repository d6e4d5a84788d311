import { Code, type ConnectError } from "@connectrpc/connect";
import { CliError } from "./cli-error.js";
import { decodeErrorInfo, ERROR_INFO_TYPE, type ErrorInfo } from "./error-info.js";
import { EXIT, type ExitCode } from "./exit-codes.js";

const EXIT_BY_STATUS: Readonly<Record<Code, ExitCode>> = {
  [Code.Canceled]: EXIT.interrupted,
  [Code.Unknown]: EXIT.unexpected,
  [Code.InvalidArgument]: EXIT.refused,
  [Code.DeadlineExceeded]: EXIT.unavailable,
  [Code.NotFound]: EXIT.notFound,
  [Code.AlreadyExists]: EXIT.refused,
  [Code.PermissionDenied]: EXIT.notAuthorised,
  [Code.ResourceExhausted]: EXIT.unavailable,
  [Code.FailedPrecondition]: EXIT.refused,
  [Code.Aborted]: EXIT.refused,
  [Code.OutOfRange]: EXIT.refused,
  [Code.Unimplemented]: EXIT.unexpected,
  [Code.Internal]: EXIT.unexpected,
  [Code.Unavailable]: EXIT.unavailable,
  [Code.DataLoss]: EXIT.unexpected,
  [Code.Unauthenticated]: EXIT.notAuthorised,
};

/** Limits that stay reached until something is removed or asked for otherwise; the other exhausted ones pass. */
const LASTING_LIMITS: ReadonlySet<string> = new Set([
  "RUN_LIMIT",
  "LIMIT_COUNT",
  "CHANNEL_LIMIT",
  "PRODUCT_LIMIT",
  "LANE_LIMIT",
]);

const NEXT_BY_REASON: Readonly<Record<string, string>> = {
  JOB_NOT_FOUND: "Check the id: `holdfast list` shows the newest jobs.",
  KEY_NOT_FOUND: "`holdfast keys list` shows the keys of this tenant.",
  SEAL_NOT_FOUND: "`holdfast audit head` shows the newest seal.",
  AUDIT_KEY_MISSING: "`holdfast audit keygen FILE` makes a key; give it to the hubs with --audit-key FILE.",
  DEAD_LETTER_NOT_FOUND:
    "`holdfast dead ls` shows the dead letters; `holdfast get ID` what became of the job.",
  UNIQUE_KEY_HELD:
    "The job that it names has the key until it ends; --unique-policy existing or replace deals with it.",
  INBOX_ENTRY_NOT_FOUND:
    "`holdfast inbox ls` shows what waits; what is not there may be a job: `holdfast get ID`.",
  NOT_REFUSED: "A hub is about to make the job: `holdfast cancel ID` then cancels it.",
  EFFECT_NOT_FOUND: "`holdfast effects ls` shows the effects of a job or scope.",
  EFFECT_COMPLETED: "A completed effect is final: `holdfast effects show` shows what came of it.",
  CHANNEL_NOT_FOUND: "`holdfast signals ls` shows the channels; the first signal published to one makes it.",
  CURSOR_NOT_FOUND: "`holdfast cursors ls CHANNEL` shows the consumers of a channel.",
  CURSOR_TOO_OLD: "Retention has trimmed it: begin at first_sequence, or leave out --from.",
  QUOTA_EXCEEDED: "A consumer holds the channel's history back: `holdfast cursors ls CHANNEL` shows which.",
  IDEMPOTENCY_CONFLICT:
    "That key belongs to a job with other content: submit with another --idempotency-key.",
  ALREADY_TERMINAL: "The job has ended: `holdfast get ID --history` shows how.",
  NOT_DEAD: "Only a dead-lettered job can be retried: `holdfast get ID` shows its state.",
  NOT_TERMINAL:
    "Only what has ended can be replayed: `holdfast watch ID` waits for it, `holdfast dag ID` shows a run.",
  REPLAY_NOT_FOUND:
    "A replay has the id that `holdfast replay` wrote; `holdfast get ID` shows whether a job is of one.",
  DEPENDENCY_NOT_FOUND: "Check the ids and keys: `holdfast list` shows the newest jobs.",
  DEPENDENCY_FAILED: "It would never start: `holdfast get ID --history` shows why the other job failed.",
  DEPENDENCY_ELSEWHERE:
    "All that a job waits for must belong to one run: `holdfast dag ID` shows which one a job belongs to.",
  PARENT_NOT_WAITING: "Children can be added while others are open: `holdfast dag ID` shows which are.",
  NOT_IN_RUN: "`holdfast get ID` shows the job by itself.",
  FIRST_KEY_NOT_ADMIN: "Add `--scope access:admin`: without it nobody could make a second key.",
  UNAUTHENTICATED: "Pass a valid key with --api-key, or in HOLDFAST_API_KEY.",
  SCOPE_MISSING: "Use a key that has the scope: `holdfast keys create --scope …` makes one.",
  KIND_NOT_ALLOWED: "Use a key that is allowed this kind: `holdfast keys create --kind …` makes one.",
  LEDGER_UNAVAILABLE: "The hub cannot reach its PostgreSQL: try again, or ask `holdfast doctor`.",
};

const CERTIFICATE_CODE = /^(CERT|DEPTH|UNABLE|SELF|ERR_TLS)/;
const SYSTEM_CODE = /^(E[A-Z]+$|CERT|DEPTH|UNABLE|SELF|ERR_TLS)/;

/** What the hub attached to a failed call; undefined when the failure is not the hub's word. */
export function errorInfoOf(error: ConnectError): ErrorInfo | undefined {
  for (const detail of error.details) {
    if ("type" in detail && detail.type === ERROR_INFO_TYPE) {
      return decodeErrorInfo(detail.value);
    }
  }
  return undefined;
}

/**
 * True when the same call may succeed later without anybody changing anything: the connection failed, or the
 * hub itself says so.
 */
export function isTransient(error: ConnectError): boolean {
  const told = errorInfoOf(error);
  if (told !== undefined) {
    return exitCodeOf(error.code, told.reason) === EXIT.unavailable;
  }
  const isAnswerOfSomethingElse =
    error.code === Code.Unauthenticated ||
    error.code === Code.PermissionDenied ||
    error.code === Code.NotFound ||
    error.code === Code.Unimplemented;
  return !isAnswerOfSomethingElse;
}

function exitCodeOf(status: Code, reason: string): ExitCode {
  return LASTING_LIMITS.has(reason) ? EXIT.refused : EXIT_BY_STATUS[status];
}

/** What the user is told about a refusal of the hub, whichever way it came. */
export function refusalError(
  status: Code,
  { reason, metadata }: Pick<ErrorInfo, "reason" | "metadata">,
  message: string,
  cause: unknown,
): CliError {
  const exitCode = exitCodeOf(status, reason);
  return new CliError(message, { exitCode, reason, metadata, next: NEXT_BY_REASON[reason], cause });
}

/** Turns a failed call into what the user is told. */
export function callError(error: ConnectError, hubUrl: string): CliError {
  const told = errorInfoOf(error);
  if (told !== undefined) {
    return refusalError(error.code, told, error.rawMessage, error);
  }
  if (error.code === Code.Canceled) {
    return new CliError("Interrupted.", { exitCode: EXIT.interrupted, reason: "INTERRUPTED", cause: error });
  }
  if (error.code === Code.DeadlineExceeded) {
    return new CliError(`The hub at ${hubUrl} did not answer in time.`, {
      exitCode: EXIT.unavailable,
      reason: "HUB_TIMEOUT",
      next: "Try again; `holdfast doctor` looks for the cause.",
      cause: error,
    });
  }
  const code = systemCode(error);
  if (code !== undefined || error.code === Code.Unavailable) {
    return new CliError(`No hub can be reached at ${hubUrl} (${error.rawMessage}).`, {
      exitCode: EXIT.unavailable,
      reason: "HUB_UNREACHABLE",
      next: nextForConnection(code ?? ""),
      cause: error,
    });
  }
  return new CliError(`What answers at ${hubUrl} does not speak as a Holdfast hub: ${error.message}`, {
    exitCode: EXIT.unexpected,
    reason: "NOT_A_HUB",
    next: "Check --hub: it names the HTTP address of the hub (by default http://127.0.0.1:7421), not the gRPC one.",
    cause: error,
  });
}

/** The code of what the operating system or TLS had against the connection. */
function systemCode(error: ConnectError): string | undefined {
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    if ("code" in cause && typeof cause.code === "string" && SYSTEM_CODE.test(cause.code)) {
      return cause.code;
    }
  }
  return undefined;
}

function nextForConnection(code: string): string {
  if (CERTIFICATE_CODE.test(code)) {
    return "Name the authority of the hub's certificate with --ca FILE, and the hub as its certificate does.";
  }
  return code === "ECONNRESET"
    ? "Something answers there, but not as expected: use https:// for a hub with TLS, and its HTTP port, not the gRPC one."
    : "Start one with `npm start` or `holdfast hub`, or name another with --hub URL or HOLDFAST_HUB.";
}
