// Times for people. Every function is given the times it compares, so that the same input gives the same text.

const UNITS = [
  { ms: 86_400_000, name: "d" },
  { ms: 3_600_000, name: "h" },
  { ms: 60_000, name: "min" },
  { ms: 1_000, name: "s" },
] as const;

/** A length of time in its largest fitting unit: "250 ms", "3 s", "5 min", "2 d". */
export function formatElapsed(elapsedMs: number): string {
  for (const unit of UNITS) {
    if (elapsedMs >= unit.ms) {
      return `${Math.floor(elapsedMs / unit.ms)} ${unit.name}`;
    }
  }
  return `${Math.round(elapsedMs)} ms`;
}

/** A measured time with a sensible number of digits: "0.42 ms", "4.2 ms", "42 ms", "1.24 s". */
export function formatLatency(latencyMs: number): string {
  if (latencyMs >= 1_000) {
    return `${(latencyMs / 1_000).toFixed(2)} s`;
  }
  const digits = latencyMs >= 10 ? 0 : latencyMs >= 1 ? 1 : 2;
  return `${latencyMs.toFixed(digits)} ms`;
}

/** A point in time relative to now: "5 min ago", "in 3 s". */
export function formatRelative(atMs: number, nowMs: number): string {
  const elapsedMs = nowMs - atMs;
  if (Math.abs(elapsedMs) < 1_000) {
    return "now";
  }
  return elapsedMs > 0 ? `${formatElapsed(elapsedMs)} ago` : `in ${formatElapsed(-elapsedMs)}`;
}

/** A point in time in full, with how long ago it was. */
export function formatTime(atMs: number, nowMs: number): string {
  return `${new Date(atMs).toISOString()} (${formatRelative(atMs, nowMs)})`;
}
