/** One step of the search: so many calls at once, each followed by the next. */
export interface Step {
  readonly concurrency: number;
  readonly callsPerSecond: number;
}

export interface Saturation {
  readonly peakPerSecond: number;
  /** The least concurrency that comes near the peak: with more, calls only wait longer. */
  readonly concurrency: number;
}

/** Doubled from step to step. */
export const concurrencies: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

const nearShare = 0.9;
/** A step that adds less has added nothing that could be told from noise. */
const gainMin = 0.05;
const fruitlessStepsMax = 2;

/** Whether more concurrency has stopped to help: the last steps added nothing. */
export function isSaturated(steps: readonly Step[]): boolean {
  if (steps.length <= fruitlessStepsMax) return false;
  const peakOf = (some: readonly Step[]) => Math.max(...some.map(({ callsPerSecond }) => callsPerSecond));
  return peakOf(steps) < peakOf(steps.slice(0, -fruitlessStepsMax)) * (1 + gainMin);
}

/** @throws RangeError without a step that did anything */
export function saturationOf(steps: readonly Step[]): Saturation {
  const peakPerSecond = Math.max(0, ...steps.map(({ callsPerSecond }) => callsPerSecond));
  const near = steps.find(({ callsPerSecond }) => callsPerSecond >= peakPerSecond * nearShare);
  if (!near || peakPerSecond === 0) throw new RangeError("No step has done anything.");
  return { peakPerSecond, concurrency: near.concurrency };
}
