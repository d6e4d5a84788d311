/** Median, smallest and largest of repeated measurements. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws RangeError without a measurement */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = sort(values);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
  return { median, min: sorted[0] as number, max: sorted.at(-1) as number };
}

export interface Latencies {
  readonly samples: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Percentiles by nearest rank: each is a value that was measured.
 *
 * @throws RangeError without a sample
 */
export function latenciesOf(values: readonly number[]): Latencies {
  const sorted = sort(values);
  return {
    samples: sorted.length,
    p50: percentileOf(sorted, 0.5),
    p90: percentileOf(sorted, 0.9),
    p99: percentileOf(sorted, 0.99),
    max: sorted.at(-1) as number,
  };
}

/** By nearest rank, of at least one value in rising order. */
export function percentileOf(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] as number;
}

function sort(values: readonly number[]): readonly number[] {
  if (values.length === 0) throw new RangeError("Nothing was measured.");
  return values.toSorted((a, b) => a - b);
}
