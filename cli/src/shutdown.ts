import { CliError } from "./cli-error.js";
import { EXIT, type ExitCode } from "./exit-codes.js";

// How a command that runs for long is asked to end: Ctrl-C, SIGTERM, a closed terminal, an output that nobody reads any
// more, or, for a child of `holdfast start`, the loss of the channel to its parent, which a killed parent closes too. The
// first request aborts the signal; a second one of somebody's ends the process at once.

export interface Shutdown {
  /** Aborted by the first request; its reason is the CliError to end with when the work was not done. */
  readonly signal: AbortSignal;
  /** Resolves with the first request. */
  readonly requested: Promise<void>;
  dispose(): void;
}

const EXIT_BY_SIGNAL = {
  SIGINT: EXIT.interrupted,
  SIGTERM: EXIT.terminated,
  SIGHUP: EXIT.terminated,
} as const satisfies Record<string, ExitCode>;

let listening: ((word: string, exitCode: ExitCode) => void) | undefined;

/** Asks a command that listens; answers whether one does. What asks again and again hurries nothing. */
export function askToShutDown(word: string, exitCode: ExitCode): boolean {
  listening?.(word, exitCode);
  return listening !== undefined;
}

/** @param drains false: with nothing to finish, it ends at once, and in silence, when nobody reads its output any more */
export function listenForShutdown({ drains = true } = {}): Shutdown {
  const controller = new AbortController();
  const requested = new Promise<void>((resolve) => {
    controller.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const ask = (word: string, exitCode: ExitCode) => {
    if (controller.signal.aborted) {
      process.exit(exitCode);
    }
    controller.abort(new CliError(`${word} before it was done.`, { exitCode, reason: "INTERRUPTED" }));
  };
  const onSignal = (name: keyof typeof EXIT_BY_SIGNAL) =>
    ask(name === "SIGINT" ? "Interrupted" : "Terminated", EXIT_BY_SIGNAL[name]);
  const askOnce = (word: string, exitCode: ExitCode) => {
    if (!controller.signal.aborted) ask(word, exitCode);
  };
  listening = drains ? askOnce : undefined;
  // A parent that goes away while this process already ends has nothing more to ask for.
  const onParentGone = () => askOnce("The parent ended", EXIT.terminated);

  for (const name of Object.keys(EXIT_BY_SIGNAL)) {
    process.on(name, onSignal);
  }
  process.on("disconnect", onParentGone);
  // Whoever is told late, because the parent was gone before anybody listened, is told all the same.
  if (process.send !== undefined && process.connected !== true) {
    onParentGone();
  }
  return {
    signal: controller.signal,
    requested,
    dispose: () => {
      listening = undefined;
      for (const name of Object.keys(EXIT_BY_SIGNAL)) {
        process.off(name, onSignal);
      }
      process.off("disconnect", onParentGone);
    },
  };
}
