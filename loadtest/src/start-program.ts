// The programs of a benchmark, as its child processes: each file of programs/ is one.
//
//   running ── stop() ──► stopping ── exit ──► ended
//      └─────── exit ──► ended: whoever waits for something it was to say is told why it did not
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ProgramMessage } from "./run-program.js";

const folder = new URL("./programs/", import.meta.url);
const outputCharsMax = 10_000;
const outputWithinMs = 200;
const stopWithinMs = 40_000;

export interface ProgramStart {
  /** Name of its file in programs/, without an ending. */
  readonly program: string;
  readonly params: object;
  /** Where its CPU profiles go; null for none. */
  readonly profileDir: string | null;
}

export interface Program<Says> {
  /**
   * The newest that it said of this kind; waits for the first. Rejects when it ends before, or too much time passes.
   */
  said<Kind extends keyof Says & string>(kind: Kind, withinMs: number): Promise<Says[Kind]>;
  /** Sends it a signal, and expects what that does. */
  signal(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
  /** Resolves when it has ended, with how. */
  readonly ended: Promise<string>;
  /** @throws when it has ended, with the end of what it printed */
  assertRunning(): void;
  /** Asks it to end by closing its channel, and kills it when it does not. Safe to call twice. */
  stop(): Promise<void>;
}

const running = new Set<Pick<Program<unknown>, "stop">>();

/** Ends every program that still runs. */
export async function stopPrograms(): Promise<void> {
  await Promise.all([...running].map((program) => program.stop()));
}

export function startProgram<Says>({ program, params, profileDir }: ProgramStart): Program<Says> {
  const child = spawn(
    process.execPath,
    [...profileFlags(profileDir), fileURLToPath(new URL(`${program}.js`, folder)), JSON.stringify(params)],
    // In a process group of its own: Ctrl-C reaches the benchmark alone, which ends its programs in order.
    { stdio: ["ignore", "pipe", "pipe", "ipc"], detached: true },
  );
  const output = keepOutput(child);
  const heard = new Map<string, unknown>();
  const waiting = new Map<string, (what: unknown) => void>();
  child.on("message", (message) => {
    const { kind, what } = message as ProgramMessage;
    heard.set(kind, what);
    waiting.get(kind)?.(what);
  });
  let howEnded: string | undefined;
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`could not be run: ${error.message}`));
    // Not "close": that never comes once the parent has closed the channel.
    child.once("exit", async (code, signal) => {
      await output.closed();
      resolve(signal ? `was ended by ${signal}` : `exited with ${code}`);
    });
  });

  const self: Program<Says> = {
    said: async <Kind extends keyof Says & string>(kind: Kind, withinMs: number) => {
      let timer: NodeJS.Timeout | undefined;
      const words = new Promise<unknown>((resolve, reject) => {
        waiting.set(kind, resolve);
        if (heard.has(kind)) resolve(heard.get(kind));
        const fail = (why: string) => reject(new Error(`${program} ${why}.\n${output.text()}`.trimEnd()));
        void ended.then(fail);
        timer = setTimeout(() => fail(`did not say "${kind}" within ${withinMs / 1_000} s`), withinMs);
      });
      return (await words.finally(() => clearTimeout(timer))) as Says[Kind];
    },
    signal: (signal) => void child.kill(signal),
    ended,
    assertRunning: () => {
      if (howEnded !== undefined) throw new Error(`${program} ${howEnded}.\n${output.text()}`.trimEnd());
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
      await ended;
      clearTimeout(timer);
    },
  };
  running.add(self);
  void ended.then((how) => {
    howEnded = how;
    running.delete(self);
  });
  return self;
}

function profileFlags(directory: string | null): string[] {
  if (directory === null) return [];
  mkdirSync(directory, { recursive: true });
  const threads = new URL("./profile-threads.js", import.meta.url);
  return ["--cpu-prof", `--cpu-prof-dir=${directory}`, `--import=${threads.href}`];
}

/** The end of what it printed, for the error message when it fails. */
function keepOutput(child: ChildProcess) {
  let text = "";
  const closed = [child.stdout, child.stderr].map((stream) => {
    stream?.setEncoding("utf8");
    stream?.on("data", (more: string) => {
      text = (text + more).slice(-outputCharsMax);
    });
    return new Promise<void>((resolve) => stream?.once("close", resolve));
  });
  return {
    text: () => text,
    /** What it started may hold the other ends open after it. */
    closed: () => Promise.race([Promise.all(closed), delay(outputWithinMs)]),
  };
}
