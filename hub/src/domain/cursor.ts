// How far a consumer got in one partition (D13): the contiguous low-watermark of what it acknowledged, and the
// ranges above it, which wait until what lies between is acknowledged too.
//
// Invariants: ranges are sorted, do not touch each other nor the watermark, and end at or below sentThrough; the
// watermark never falls.

export interface SequenceRange {
  readonly first: number;
  readonly last: number;
}

export interface Cursor {
  readonly ackedThrough: number;
  /** The highest sequence that was ever sent to this consumer. */
  readonly sentThrough: number;
  readonly above: readonly SequenceRange[];
}

/** A cursor as operators see it. */
export interface CursorView {
  readonly cursorId: number;
  readonly consumer: string;
  readonly partition: number;
  readonly ackedThrough: number;
  readonly deliveredThrough: number;
  readonly checkpointSequence: number | null;
  readonly lag: number;
  readonly touchedAtMs: number;
}

/** Ranges that may wait above the watermark: a consumer that leaves more holes than this is told to close some. */
export const rangesAboveMax = 10_000;

export type AckOutcome =
  | { readonly type: "acknowledged"; readonly cursor: Cursor }
  /** Nothing changed: `sequence` was never sent. */
  | { readonly type: "beyond_sent"; readonly sequence: number }
  /** Nothing changed: too many holes. */
  | { readonly type: "too_many_ranges" };

export function openCursor(ackedThrough: number, sentThrough: number): Cursor {
  return { ackedThrough, sentThrough: Math.max(ackedThrough, sentThrough), above: [] };
}

export function noteSent(cursor: Cursor, through: number): Cursor {
  return through > cursor.sentThrough ? { ...cursor, sentThrough: through } : cursor;
}

/** Acknowledges ranges, all or none. What was acknowledged before counts as acknowledged. */
export function acknowledge(cursor: Cursor, ranges: readonly SequenceRange[]): AckOutcome {
  for (const { last } of ranges)
    if (last > cursor.sentThrough) return { type: "beyond_sent", sequence: last };
  const [only] = ranges;
  const isNext = ranges.length === 1 && only && cursor.above.length === 0;
  const merged = isNext ? [only] : merge([...cursor.above, ...ranges]);
  let { ackedThrough } = cursor;
  let passed = 0;
  for (const range of merged) {
    if (range.first > ackedThrough + 1) break;
    ackedThrough = Math.max(ackedThrough, range.last);
    passed += 1;
  }
  const above = merged.slice(passed);
  if (above.length > rangesAboveMax) return { type: "too_many_ranges" };
  return { type: "acknowledged", cursor: { ...cursor, ackedThrough, above } };
}

export function isAcknowledged(cursor: Cursor, sequence: number): boolean {
  return (
    sequence <= cursor.ackedThrough ||
    cursor.above.some(({ first, last }) => sequence >= first && sequence <= last)
  );
}

function merge(ranges: readonly SequenceRange[]): SequenceRange[] {
  const sorted = [...ranges].sort((a, b) => a.first - b.first);
  const merged: SequenceRange[] = [];
  for (const range of sorted) {
    const before = merged.at(-1);
    if (before && range.first <= before.last + 1) {
      if (range.last > before.last) merged[merged.length - 1] = { first: before.first, last: range.last };
    } else {
      merged.push(range);
    }
  }
  return merged;
}
