import { formatElapsed } from "../elapsed.js";
import { type Check, fail, ok, warn } from "./check.js";

/** The Date header has a resolution of a second; less than this cannot be told apart from none. */
const SKEW_WARN_MS = 2_000;
const SKEW_FAIL_MS = 30_000;

/** Compares this clock with the Date header of an answer that was asked for and came at these times. */
export function judgeClock(dateHeader: string | null, askedAtMs: number, answeredAtMs: number): Check {
  const hubMs = dateHeader === null ? Number.NaN : Date.parse(dateHeader);
  if (Number.isNaN(hubMs)) {
    return warn(
      "clock",
      "the hub did not say what time it is",
      "Is a proxy in between? Ask the hub directly.",
    );
  }
  // The header is cut to the second: on average the hub's clock shows half a second more.
  const skewMs = Math.abs(hubMs + 500 - (askedAtMs + answeredAtMs) / 2);
  if (skewMs < SKEW_WARN_MS) {
    return ok("clock", "agrees with the hub's");
  }
  const found = `differs from the hub's by ${formatElapsed(skewMs)}`;
  const next = "Synchronise both clocks (NTP): deadlines and start times are read by the ledger's.";
  return skewMs < SKEW_FAIL_MS ? warn("clock", found, next) : fail("clock", found, next);
}
