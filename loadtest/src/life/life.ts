// A job's whole life at a steady rate: submit, claim, report, for a minute. So many jobs are open at any time, and each
// that ends makes room for another.
import { defineBenchmark } from "../benchmark.js";
import { drainTable } from "../drain/ranking.js";
import { payloadBytesMin } from "../job-payload.js";
import { chooseRacers, namesOf, readyRacers, turnedBy } from "../racers.js";
import { formatCount } from "../table.js";
import { lifeContestants } from "./life-contestants.js";
import type { LifeParams } from "./life-program.js";
import { type Lived, liveHeat } from "./live-heat.js";

export const life = defineBenchmark({
  name: "life",
  summary: "submit, claim, report: a steady life, beside the same SQL without a hub and the peers",
  options: {
    seconds: { unit: "seconds", default: 60, range: [1, 3_600], help: "measured" },
    "warm-up": { unit: "seconds", default: 5, range: [1, 600], help: "before that, not measured" },
    open: {
      unit: "count",
      default: 4_000,
      range: [1_000, 1_000_000],
      help: "jobs that are submitted and not done, at any time",
    },
    bytes: { unit: "count", default: 200, range: [payloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each contestant runs" },
    only: {
      unit: "text",
      default: null,
      help: `contestants, separated by commas: ${namesOf(lifeContestants)}`,
    },
  },
  check: ({ only }) => void chooseRacers(lifeContestants, only),
  run: async (stage, { seconds, "warm-up": warmUpSeconds, open, bytes, rounds, only }) => {
    const { racers, missing } = await readyRacers(lifeContestants, only, stage.log);
    const params: LifeParams = {
      payloadBytes: bytes,
      openMax: open,
      preloaded: 0,
      warmUpSeconds,
      seconds,
      isDrained: true,
    };
    const heats: Lived[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      for (const contestant of turnedBy(racers, round - 1)) {
        const label = `${contestant.name}_${round}`;
        const lived = await liveHeat(stage, { contestant, round, label, life: params, isPinned: false });
        stage.log(
          `round ${round} of ${rounds}, ${contestant.name}: ${formatCount(lived.jobsPerSecond)} jobs/s`,
        );
        heats.push(lived);
      }
    }
    const settings = Object.fromEntries(racers.map(({ name, settings }) => [name, settings]));
    return {
      table: drainTable(racers, heats),
      notes: [
        `Jobs committed in ${seconds} s after ${warmUpSeconds} s of warm-up, submitted in batches of 500 by the process that works them off, ${formatCount(open)} open at any time. Each database was asked afterwards whether all had ended well.`,
        "graphile-worker tells of no completion: there, what ran counts, up to a local queue ahead of what is committed.",
        "Dead rows are those that vacuum had not yet removed at the end.",
        ...missing,
      ],
      measured: { settings, heats },
    };
  },
});
