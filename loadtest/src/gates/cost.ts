// What gates cost that are open: the drain of the same backlog with none and with one of every kind before each job.
import type { Contestant } from "../drain/contestant.js";
import { runHeat } from "../drain/drain.js";
import { holdfast, submitToHub } from "../drain/holdfast.js";
import type { Drained } from "../drain/ranking.js";
import { turnedBy } from "../racers.js";
import type { Stage } from "../stage.js";
import { formatCount } from "../table.js";
import { benchSource, type GateSet, openGates, openMeters, setGates } from "./gate-sets.js";

export const plainName = "no-gates";

const plain: Contestant = {
  ...holdfast,
  name: plainName,
  title: "no gates",
  preload: (heat) => submitToHub(heat, benchSource.source),
};

const behind = (name: string, title: string, gates: () => GateSet): Contestant => ({
  ...plain,
  name,
  title,
  preload: async (heat) => {
    await plain.preload(heat);
    await setGates(heat.stage, heat.databaseUrl, gates(), heat.label);
  },
});

/** Gates that hold lanes, and with them those that the ledger judges in each claim. */
export const gatedContestants = [
  behind("open-gates", "five open gates", () => openGates(Date.now())),
  behind("all-gates", "nine open gates, four with meters", () => [...openGates(Date.now()), ...openMeters()]),
] as const;

const costContestants = [plain, ...gatedContestants];

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
