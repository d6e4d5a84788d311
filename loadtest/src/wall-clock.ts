/**
 * Milliseconds since 1970 with a fraction, from the monotonic clock. Programs on one machine read the same one, so
 * their times can be subtracted from each other.
 */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
