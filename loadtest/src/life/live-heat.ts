// One try of one contestant at a life: it submits and works for a while, on a database of its own. The benchmarks of a
// steady life, of a large backlog and of a held transaction are this with other figures.
import type { Heat } from "../drain/contestant.js";
import type { Ranked } from "../drain/ranking.js";
import { deadRowsQuery } from "../racers.js";
import type { Stage } from "../stage.js";
import type { LifeContestant, LifeHeat } from "./life-contestant.js";
import type { LifeParams } from "./life-program.js";

export interface Lived extends Ranked {
  readonly committed: number;
  readonly perSecond: readonly number[];
}

export interface LifePlan {
  readonly contestant: LifeContestant;
  readonly round: number;
  /** Names the database and the profiles. */
  readonly label: string;
  readonly life: LifeParams;
  /** While it is measured, another transaction of this database is open and holds vacuum back. */
  readonly isPinned: boolean;
}

export async function liveHeat(stage: Stage, plan: LifePlan): Promise<Lived> {
  const { contestant, round, label, life } = plan;
  const { postgres } = stage;
  const databaseUrl = await postgres.createDatabase(label);
  const stepMsMax = 60_000 + (life.warmUpSeconds + life.seconds) * 2_000 + life.preloaded * 2;
  try {
    if (life.preloaded > 0) {
      const heat: Heat = {
        stage,
        label,
        databaseUrl,
        jobs: life.preloaded,
        warmUpJobs: 1,
        payloadBytes: life.payloadBytes,
        stepMsMax,
      };
      await contestant.preload(heat);
      await postgres.settle(label);
    }
    let release = async () => {};
    const marks: { committed: number; atMs: number; walBytes: number; commits: number }[] = [];
    const mark = async (reached: { committed: number; atMs: number }) => {
      marks.push({ ...reached, ...(await postgres.readCounters(label)) });
    };
    const heat: LifeHeat = { stage, label, databaseUrl, life, stepMsMax };
    const ended = await contestant
      .live(heat, {
        warm: async (reached) => {
          if (plan.isPinned) release = await postgres.holdTransaction(label);
          await mark(reached);
        },
        lived: mark,
      })
      .finally(() => release());
    const deadRows = await postgres.count(label, deadRowsQuery);
    const unfinished = await postgres.count(label, contestant.unfinishedQuery);
    const finished = ended.submitted - unfinished;
    if (finished < ended.committed || (life.isDrained && unfinished > 0))
      throw new Error(
        `${contestant.name} told of ${ended.committed} committed jobs of ${ended.submitted}; its database knows of ${finished}.`,
      );
    const [from, to] = marks;
    if (!from || !to) throw new Error(`${contestant.name} ended before it was measured.`);
    const committed = to.committed - from.committed;
    return {
      contestant: contestant.name,
      round,
      committed,
      jobsPerSecond: (committed / (to.atMs - from.atMs)) * 1_000,
      walBytesPerJob: (to.walBytes - from.walBytes) / committed,
      commitsPerJob: (to.commits - from.commits) / committed,
      deadRows,
      perSecond: ended.perSecond,
    };
  } finally {
    await postgres.dropDatabase(label);
  }
}
