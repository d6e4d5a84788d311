import { setMaxListeners } from "node:events";

/** Calls that one signal may end at the same time; beyond it Node warns of a leak. */
const LISTENERS_MAX = 100;

/** A signal that is aborted with the first of several. */
export function firstAbort(...signals: AbortSignal[]): AbortSignal {
  const signal = AbortSignal.any(signals);
  setMaxListeners(LISTENERS_MAX, signal);
  return signal;
}
