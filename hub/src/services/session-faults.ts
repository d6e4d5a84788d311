import { Fault } from "../domain/fault.js";

export function sessionExpired(): Fault {
  return new Fault("SESSION_EXPIRED", "The session has expired; attach without it.");
}

export function sessionSuperseded(): Fault {
  return new Fault("SUPERSEDED", "A newer stream has resumed this session.");
}
