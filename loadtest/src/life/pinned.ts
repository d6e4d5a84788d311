// Whether a transaction that stays open costs throughput: vacuum removes nothing that it might still see, so dead rows
// pile up for as long as it lives.
import { defineBenchmark } from "../benchmark.js";
import { payloadBytesMin } from "../job-payload.js";
import { chooseRacers, namesOf, readyRacers } from "../racers.js";
import { formatCount } from "../table.js";
import { comparisonTable } from "./comparison.js";
import { lifeContestants } from "./life-contestants.js";
import type { LifeParams } from "./life-program.js";
import { type Lived, liveHeat } from "./live-heat.js";

const variants = [
  { name: "clean", title: "no other transaction", isPinned: false },
  { name: "held", title: "one held open", isPinned: true },
] as const;

export const pinned = defineBenchmark({
  name: "pinned",
  summary: "the same life with another transaction held open all the time",
  options: {
    seconds: { unit: "seconds", default: 120, range: [1, 3_600], help: "measured, and held" },
    "warm-up": { unit: "seconds", default: 5, range: [1, 600], help: "before that, not measured" },
    open: {
      unit: "count",
      default: 4_000,
      range: [1_000, 1_000_000],
      help: "jobs that are submitted and not done, at any time",
    },
    bytes: { unit: "count", default: 200, range: [payloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each runs" },
    only: {
      unit: "text",
      default: "holdfast",
      help: `contestants, separated by commas: ${namesOf(lifeContestants)}`,
    },
  },
  check: ({ only }) => void chooseRacers(lifeContestants, only),
  run: async (stage, { seconds, "warm-up": warmUpSeconds, open, bytes, rounds, only }) => {
    const { racers, missing } = await readyRacers(lifeContestants, only, stage.log);
    const life: LifeParams = {
      payloadBytes: bytes,
      openMax: open,
      preloaded: 0,
      warmUpSeconds,
      seconds,
      isDrained: true,
    };
    const heats: (Lived & { readonly variant: string })[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      for (const contestant of racers) {
        for (const { name, title, isPinned } of round % 2 === 1 ? variants : variants.toReversed()) {
          const label = `${contestant.name}_${name}_${round}`;
          const lived = await liveHeat(stage, { contestant, round, label, life, isPinned });
          stage.log(
            `round ${round} of ${rounds}, ${contestant.name}, ${title}: ${formatCount(lived.jobsPerSecond)} jobs/s`,
          );
          heats.push({ ...lived, variant: name });
        }
      }
    }
    return {
      table: comparisonTable(racers, variants, heats),
      notes: [
        `Jobs committed in ${seconds} s after ${warmUpSeconds} s of warm-up, ${formatCount(open)} open at any time. The other transaction has an id and a snapshot, and is held from the end of the warm-up.`,
        "The end is the last quarter of that time, when the most dead rows have piled up.",
        ...missing,
      ],
      measured: { heats },
    };
  },
});
