import { Fault } from "../domain/fault.js";

export function sessionExpired(): Fault {
  return new Fault("SESSION_EXPIRED", "The session has expired; attach without it.");
}

/** Whether a claim was granted is unknown. */
export function claimLost(): Fault {
  return new Fault("LEDGER_UNAVAILABLE", "The ledger was away; come again.", {}, { retryAfterMs: 1_000 });
}

export function sessionSuperseded(): Fault {
  return new Fault("SUPERSEDED", "A newer stream has resumed this session.");
}
