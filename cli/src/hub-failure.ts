import { CliError } from "./cli-error.js";
import { EXIT } from "./exit-codes.js";

/** What the operator is told when a hub cannot start, or cannot go on. */
export function hubFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CliError) {
    return error;
  }
  const code = "code" in error ? String(error.code) : "";
  if (code === "EADDRINUSE") {
    return new CliError(`${error.message}.`, {
      exitCode: EXIT.refused,
      reason: "PORT_TAKEN",
      next: "Is a hub running already (`holdfast status`)? Else choose other ports: --grpc-listen, --http-listen.",
      cause: error,
    });
  }
  return error;
}
