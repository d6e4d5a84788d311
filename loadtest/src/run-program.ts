// The side of a program that a benchmark runs as a child process. What must hold:
// - It ends with its parent in every case: the parent's end of the channel closes even when the parent is killed.
// - It ends in order, within a bound: its body is told, then what it opened is closed, then it exits.
//
//   body ──► open ── channel closed, SIGTERM ──► closing ──► exit
//     └── throws ──► exit 1, the reason on stderr
import { exit } from "node:process";

const closeWithinMs = 30_000;

/** Tells the parent one thing of a kind. */
export type Say<Says> = <Kind extends keyof Says & string>(kind: Kind, what: Says[Kind]) => void;

export interface ProgramMessage {
  readonly kind: string;
  readonly what: unknown;
}

/**
 * Runs a program's body with the parameters that the parent gave it; answers what closes it.
 *
 * @param body gets a signal that aborts when the program is to end
 */
export async function runProgram<Params extends object, Says extends object>(
  body: (params: Params, say: Say<Says>, signal: AbortSignal) => Promise<(() => Promise<void>) | undefined>,
): Promise<void> {
  if (!process.connected) {
    process.stderr.write("This program is part of a benchmark: npm run bench\n");
    exit(2);
  }
  // A parent that was killed reads no more: what is printed meanwhile must not end this before it has closed.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  const end = new AbortController();
  const ended = new Promise<void>((resolve) => {
    end.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  for (const event of ["disconnect", "SIGTERM", "SIGINT"]) {
    process.once(event, () => {
      setTimeout(() => exit(1), closeWithinMs).unref();
      end.abort(new Error("The benchmark has ended."));
    });
  }
  const say: Say<Says> = (kind, what) => {
    if (process.connected) process.send?.({ kind, what } satisfies ProgramMessage);
  };
  try {
    const close = await body(JSON.parse(process.argv[2] ?? "{}") as Params, say, end.signal);
    await ended;
    await close?.();
    exit(0);
  } catch (error) {
    if (!end.signal.aborted)
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    exit(1);
  }
}
