// The loop of every program of the life benchmark (peers/river/main.go has it in Go): as jobs end, others are
// submitted, so that the same number is always open and nobody waits for anybody.
import { setTimeout as delay } from "node:timers/promises";
import { nowMs } from "../wall-clock.js";
import type { LifeParams, TellLife } from "./life-program.js";

export interface LifeSystem {
  /** Resolves when so many more jobs are durable. */
  submit(count: number): Promise<void>;
  /** Results committed since the start. */
  committed(): number;
  /** Settles when it works no longer. */
  readonly failed: Promise<unknown>;
}

const batchJobs = 500;
const submitters = 2;
const lookAgainMs = 1;

export async function keepBusy(
  system: LifeSystem,
  params: LifeParams,
  say: TellLife,
  signal: AbortSignal,
): Promise<void> {
  let submitted = params.preloaded;
  let isOver = false;
  const submitInTurn = async () => {
    while (!isOver) {
      signal.throwIfAborted();
      if (params.openMax - (submitted - system.committed()) < batchJobs) {
        await delay(lookAgainMs);
        continue;
      }
      submitted += batchJobs;
      await system.submit(batchJobs);
    }
  };
  const untilCommitted = async (jobs: number) => {
    while (system.committed() < jobs) await delay(lookAgainMs, undefined, { signal });
  };
  const mark = () => ({ atMs: nowMs(), committed: system.committed() });

  const measure = async () => {
    await untilCommitted(1);
    await delay(params.warmUpSeconds * 1_000, undefined, { signal });
    say("warm", mark());
    const perSecond: number[] = [];
    let last = system.committed();
    let nextAtMs = nowMs();
    for (let second = 0; second < params.seconds; second += 1) {
      nextAtMs += 1_000;
      await delay(Math.max(0, nextAtMs - nowMs()), undefined, { signal });
      const now = system.committed();
      perSecond.push(now - last);
      last = now;
    }
    say("lived", mark());
    isOver = true;
    return perSecond;
  };

  const stoppedEarly = system.failed.then(() => {
    if (!isOver) throw new Error("The worker closed while it was measured.");
  });
  const submitting = Promise.all(Array.from({ length: submitters }, submitInTurn));
  const measured = Promise.all([measure(), submitting]);
  const [perSecond] = await Promise.race([measured, stoppedEarly.then(() => measured)]);
  if (params.isDrained) await untilCommitted(submitted);
  say("ended", { submitted, committed: system.committed(), perSecond });
}
