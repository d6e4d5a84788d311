import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CliError } from "../cli-error.js";
import { EXIT } from "../exit-codes.js";
import type { ChildMessage } from "../parent.js";

// The processes that `holdfast start` and `holdfast fleet up` run: other commands of this program. What must hold:
// - A child is asked to stop by closing its channel, which a killed parent does too: none outlives its parent.
// - A child is in a process group of its own, so that Ctrl-C reaches the parent alone and children end in order.
// - A child that ends by itself is a failure, and the failure tells the end of its log.
//
//   running ── stop() ──► stopping ── exit ──► ended
//      └─────── exit ──► ended, failure rejects

const PROGRAM = fileURLToPath(new URL("../../bin/holdfast.js", import.meta.url));
const LOG_LINES_SHOWN = 12;

export interface ChildOptions {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Written anew by every run. */
  readonly logFile: string;
}

export interface Child {
  readonly name: string;
  /** The first message of the child: it is up. */
  readonly up: Promise<ChildMessage>;
  /** Rejects when the child ends without having been asked to. */
  readonly failure: Promise<never>;
  /** Asks it to stop, and kills it after so long. */
  stop(withinMs: number): Promise<void>;
}

/** @throws CliError when its log cannot be written */
export function startChild(options: ChildOptions): Child {
  const log = openLog(options.logFile);
  const child = spawn(process.execPath, [PROGRAM, ...options.args], {
    stdio: ["ignore", log, log, "ipc"],
    env: options.env,
    detached: true,
  });
  closeSync(log);

  let state: "running" | "stopping" | "ended" = "running";
  const ended = new Promise<void>((resolve) =>
    child.once("exit", () => resolve()).once("error", () => resolve()),
  );
  const failure = new Promise<never>((_, reject) => {
    const fail = async (how: string) => {
      const isFailure = state === "running";
      state = "ended";
      if (isFailure) {
        reject(await childFailure(options, how));
      }
    };
    child.once("error", (error) => fail(`could not be run: ${error.message}`));
    child.once("exit", (code, signal) =>
      fail(signal === null ? `exited with code ${code}` : `was ended by ${signal}`),
    );
  });
  // Whoever is interested races it; a failure that comes while nobody does is told by the next race.
  failure.catch(() => {});

  return {
    name: options.name,
    up: new Promise((resolve) => child.once("message", (message) => resolve(message as ChildMessage))),
    failure,
    stop: async (withinMs) => {
      if (state === "running") {
        state = "stopping";
        disconnect(child);
      }
      await endWithin(child, ended, withinMs);
    },
  };
}

function openLog(file: string): number {
  try {
    return openSync(file, "w");
  } catch (cause) {
    throw cannotOpen(`The log ${file} cannot be written`, cause as Error);
  }
}

/** Something in the data directory. */
export function cannotOpen(what: string, cause: Error): CliError {
  return new CliError(`${what}: ${cause.message}`, {
    exitCode: EXIT.refused,
    reason: "CANNOT_OPEN",
    next: "Choose another --data-dir, or run as its owner.",
    cause,
  });
}

function disconnect(child: ChildProcess): void {
  if (child.connected) {
    child.disconnect();
  }
}

async function endWithin(child: ChildProcess, ended: Promise<void>, withinMs: number): Promise<void> {
  const timer = setTimeout(() => child.kill("SIGKILL"), withinMs);
  await ended;
  clearTimeout(timer);
}

async function childFailure({ name, logFile }: ChildOptions, how: string): Promise<CliError> {
  const log = await readFile(logFile, "utf8").catch(() => "");
  const tail = log.trimEnd().split("\n").slice(-LOG_LINES_SHOWN).join("\n");
  return new CliError(`${name} ${how}.${tail === "" ? "" : `\n${tail}`}`, {
    exitCode: EXIT.childFailed,
    reason: "CHILD_FAILED",
    next: `All of its log: ${logFile}. \`holdfast doctor\` looks for common causes.`,
  });
}
