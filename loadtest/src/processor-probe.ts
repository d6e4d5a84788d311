import { latenciesOf } from "./statistics.js";

/** How long one and the same work took, over and over: on a machine that is left alone, hardly more than the median. */
export interface ProcessorFacts {
  readonly workMedianMs: number;
  readonly workP99Ms: number;
}

const warmUpRuns = 20;
const probeMs = 1_000;
const workSteps = 4_000_000;

/** Computes for a second and notices who else does: neighbours on the same machine slow the work down, or stop it. */
export function probeProcessor(): ProcessorFacts {
  const tookMs: number[] = [];
  const giveUpAt = performance.now() + probeMs;
  for (let runs = 0; tookMs.length === 0 || performance.now() < giveUpAt; runs += 1) {
    const startedAt = performance.now();
    work();
    if (runs >= warmUpRuns) tookMs.push(performance.now() - startedAt);
  }
  const { p50, p99 } = latenciesOf(tookMs);
  return { workMedianMs: p50, workP99Ms: p99 };
}

/** A linear congruential generator, whose steps cannot be left out. */
function work(): number {
  let state = 1;
  for (let step = 0; step < workSteps; step += 1) state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  return state;
}
