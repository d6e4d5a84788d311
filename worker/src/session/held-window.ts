/**
 * How many leases a worker holds at once, by how fast it ends them: enough for `aheadMs` of work at the rate that was
 * seen last, within bounds. A worker of slow jobs holds few, so that other workers get them; one of quick jobs holds
 * enough that neither it nor the hub waits for the other.
 */
export type HeldWindow = {
  readonly minJobs: number;
  readonly maxJobs: number;
  readonly jobs: number;
  /** Leases that ended since `sinceMs`. */
  readonly endedJobs: number;
  readonly sinceMs: number;
};

/** Work to hold ahead. Several times the round trip of lease, result and verdict, also of a busy hub. */
const aheadMs = 200;
/** Rates are taken over at least this long. */
const sampleMs = 20;

export function newWindow(minJobs: number, maxJobs: number, nowMs: number): HeldWindow {
  return { minJobs, maxJobs: Math.max(minJobs, maxJobs), jobs: minJobs, endedJobs: 0, sinceMs: nowMs };
}

/** Leases ended; the window follows the rate, once it has been watched long enough. */
export function windowAfter(window: HeldWindow, endedJobs: number, nowMs: number): HeldWindow {
  const sum = window.endedJobs + endedJobs;
  const elapsedMs = nowMs - window.sinceMs;
  if (elapsedMs < sampleMs) return { ...window, endedJobs: sum };
  const wanted = Math.ceil((sum / elapsedMs) * aheadMs);
  const jobs = Math.min(Math.max(wanted, window.minJobs), window.maxJobs);
  return { ...window, jobs, endedJobs: 0, sinceMs: nowMs };
}
