import { InvalidArgumentError } from "commander";
import { parseDurationMs } from "./duration.js";

const WITH_ZONE = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;
const FROM_NOW = /^([+-])(\d+[a-z]+)$/;

/**
 * Reads an RFC 3339 time, or a distance from now: "+10m" ahead, "-1h" back. A time without a zone is refused:
 * it means another moment on another machine.
 */
export function parseTime(text: string, nowMs: number = Date.now()): Date {
  const fromNow = FROM_NOW.exec(text);
  if (fromNow !== null) {
    const distanceMs = parseDurationMs(fromNow[2] ?? "");
    return new Date(fromNow[1] === "+" ? nowMs + distanceMs : nowMs - distanceMs);
  }
  const timeMs = WITH_ZONE.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(timeMs)) {
    throw new InvalidArgumentError(
      `"${text}" is not a time: write 2027-01-31T14:00:00Z, or +10m for ten minutes from now.`,
    );
  }
  return new Date(timeMs);
}
