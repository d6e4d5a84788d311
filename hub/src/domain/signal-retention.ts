/** The oldest pages of a partition, as retention sees them. */
export interface OldPage {
  readonly lastSequence: number;
  readonly publishedAtMs: number;
  readonly bytes: number;
}

export interface RetentionState {
  readonly heldBytes: number;
  /** What the rearmost durable cursor would begin after; null without any. */
  readonly cursorFloor: number | null;
  readonly nowMs: number;
}

export interface RetentionPolicy {
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly trimConsumed: boolean;
  readonly trimPastCursors: boolean;
}

/** Trimming by size begins here, so that admission need not refuse what a trim would make room for. */
const fullShare = 0.9;

/**
 * The sequence up to which pages go, oldest first; 0 when none does. A page stays whole. Never past a durable cursor
 * unless the policy says so (D15).
 */
export function trimThrough(
  pages: readonly OldPage[],
  policy: RetentionPolicy,
  { heldBytes, cursorFloor, nowMs }: RetentionState,
): number {
  const floor = policy.trimPastCursors ? Number.POSITIVE_INFINITY : (cursorFloor ?? Number.POSITIVE_INFINITY);
  let through = 0;
  let left = heldBytes;
  for (const page of pages) {
    if (page.lastSequence > floor) break;
    const isOld = page.publishedAtMs < nowMs - policy.maxAgeMs;
    const isTooMuch = left > policy.maxBytes * fullShare;
    const isConsumed = policy.trimConsumed && cursorFloor !== null && page.lastSequence <= cursorFloor;
    if (!isOld && !isTooMuch && !isConsumed) break;
    through = page.lastSequence;
    left -= page.bytes;
  }
  return through;
}
