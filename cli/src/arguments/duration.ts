import { InvalidArgumentError } from "commander";

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads "250ms", "30s", "10m", "24h", "7d" as milliseconds. */
export function parseDurationMs(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const unitMs = UNIT_MS[match?.[2] ?? ""];
  if (match === null || unitMs === undefined) {
    throw new InvalidArgumentError(`"${text}" is not a duration: write 250ms, 30s, 10m, 24h or 7d.`);
  }
  return Number(match[1]) * unitMs;
}
