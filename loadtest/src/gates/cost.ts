// What gates cost that are open: the drain of the same backlog with none and with one of every kind before each job.
import type { Contestant } from "../drain/contestant.js";
import { runHeat } from "../drain/drain.js";
import { holdfast, submitToHub } from "../drain/holdfast.js";
import type { Drained } from "../drain/ranking.js";
import { turnedBy } from "../racers.js";
import type { Stage } from "../stage.js";
import { formatCount } from "../table.js";
import { benchSource, openGates, setGates } from "./gate-sets.js";

const plain: Contestant = {
  ...holdfast,
  name: "no-gates",
  title: "no gates",
  preload: (heat) => submitToHub(heat, benchSource.source),
};

const gated: Contestant = {
  ...plain,
  name: "open-gates",
  title: "five open gates",
  preload: async (heat) => {
    await plain.preload(heat);
    await setGates(heat.stage, heat.databaseUrl, openGates(Date.now()), heat.label);
  },
};

export const costContestants = [plain, gated] as const;

export async function measureCost(
  stage: Stage,
  jobs: number,
  payloadBytes: number,
  rounds: number,
): Promise<readonly Drained[]> {
  const heats: Drained[] = [];
  for (let round = 1; round <= rounds; round += 1)
    for (const contestant of turnedBy(costContestants, round - 1)) {
      const drained = await runHeat(stage, contestant, round, jobs, payloadBytes);
      stage.log(
        `round ${round} of ${rounds}, ${contestant.title}: ${formatCount(drained.jobsPerSecond)} jobs/s`,
      );
      heats.push(drained);
    }
  return heats;
}
