import { type ChildProcess, execFile, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const PROGRAM = fileURLToPath(new URL("../bin/holdfast.js", import.meta.url));

export interface HoldfastProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  /** Resolves once what was written so far matches; fails when the process ends before it. */
  says(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** Runs the built command as a process of its own, as a user does. */
export function spawnHoldfast(
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): HoldfastProcess {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("HOLDFAST_")),
  );
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: options.cwd,
    env: { ...env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const text = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      text[name] += chunk;
      for (const listener of listeners) {
        listener();
      }
    });
  }
  const ended = new Promise<number | string>((resolve) =>
    child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown")),
  );
  return {
    child,
    pid: child.pid ?? 0,
    stdout: () => text.stdout,
    stderr: () => text.stderr,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = (text.stdout + text.stderr).match(pattern);
          if (match !== null) {
            listeners.delete(look);
            resolve(match);
          }
        };
        listeners.add(look);
        look();
        void ended.then((how) =>
          reject(new Error(`ended with ${how} before it said ${pattern}:\n${text.stdout}${text.stderr}`)),
        );
      }),
  };
}

/** Command lines of the live processes that mention a directory of the test, by process id. */
export async function processesOf(directory: string): Promise<Map<number, string>> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,stat=,args="]);
  const lines = stdout.split("\n").map((line) => /^ *(\d+) +(\S+) +(.*)$/.exec(line));
  return new Map(
    lines.flatMap((match) =>
      match?.[3]?.includes(directory) === true && !match[2]?.startsWith("Z")
        ? [[Number(match[1]), match[3]]]
        : [],
    ),
  );
}

/** Waits until a condition holds; the test's own timeout bounds it. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
