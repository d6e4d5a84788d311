import { constants } from "node:os";

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Calls `first` on the first SIGTERM or SIGINT; on another one calls `second` and ends the process with the exit code
 * that shells give to it. Returns a function that stops listening.
 */
export function onStopSignal(react: {
  first: (signal: NodeJS.Signals) => void;
  second: (signal: NodeJS.Signals) => void;
}): () => void {
  let isFirst = true;
  const listener = (signal: NodeJS.Signals) => {
    if (isFirst) {
      isFirst = false;
      return react.first(signal);
    }
    react.second(signal);
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}
