import { spawn } from "node:child_process";
import type { Account } from "./embedded-postgres-account.js";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";

export interface RunOutcome {
  exitCode: number | null;
  /** The last of stdout and stderr, together, at most `outputCharsMax` characters. */
  output: string;
}

const outputCharsMax = 8_000;
const outputDrainMs = 500;

/** Runs one of PostgreSQL's binaries to its end, as the given account. */
export async function runBinary(
  file: string,
  args: readonly string[],
  account: Account | undefined,
): Promise<RunOutcome> {
  const child = spawn(file, args, {
    // The account may not be allowed to read the caller's directory.
    cwd: process.platform === "win32" ? undefined : "/",
    env: bareEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
    ...(account && { uid: account.uid, gid: account.gid }),
  });
  let output = "";
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-outputCharsMax);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return await new Promise<RunOutcome>((resolve, reject) => {
    child.once("error", (cause) => reject(new EmbeddedPostgresError(whyNotStarted(file, cause), { cause })));
    child.once("exit", (exitCode) => {
      // "close" waits for everyone who inherited the pipes, which on Windows includes the server itself.
      const drained = setTimeout(() => resolve({ exitCode, output: output.trim() }), outputDrainMs);
      child.once("close", () => {
        clearTimeout(drained);
        resolve({ exitCode, output: output.trim() });
      });
    });
  });
}

/** PostgreSQL reads PG* variables, and everything given here is inherited by the server for its whole life. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const kept = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot", "TEMP", "TMP", "TMPDIR"];
  const env: NodeJS.ProcessEnv = { LC_ALL: "C", TZ: "UTC" };
  for (const name of kept) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

function whyNotStarted(file: string, cause: Error): string {
  const code = (cause as NodeJS.ErrnoException).code;
  const because =
    code === "ENOENT"
      ? "it is missing, or this system is not based on glibc (Alpine, for instance)"
      : code === "EPERM" || code === "EINVAL"
        ? "switching to another user is not allowed here; run as a user other than root"
        : cause.message;
  return `${file} cannot be run: ${because}. Or use a PostgreSQL of your own: HOLDFAST_DATABASE_URL.`;
}
