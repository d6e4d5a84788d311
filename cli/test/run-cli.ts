import { Readable, Writable } from "node:stream";
import type { Io } from "../src/io.js";
import { runCli } from "../src/program.js";

export interface CliRun {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly isTty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs one command line in this process and returns what a shell would see of it. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<CliRun> {
  const stdout = collector(options.isTty === true);
  const stderr = collector(options.isTty === true);
  const io: Io = {
    stdin: Readable.from(options.stdin === undefined ? [] : [options.stdin]),
    stdout: stdout.stream,
    stderr: stderr.stream,
    env: options.env ?? {},
    nowMs: Date.now,
  };
  const exitCode = await runCli(args, io);
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

/** The error that --json writes to stderr. */
export function jsonError({ stderr }: CliRun): {
  reason: string;
  message: string;
  exitCode: number;
  next?: string;
  metadata: Record<string, string>;
} {
  return JSON.parse(stderr).error;
}

function collector(isTTY: boolean): { stream: Writable & { isTTY: boolean }; text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer | string, _encoding, done) {
      chunks.push(chunk.toString());
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => chunks.join("") };
}
