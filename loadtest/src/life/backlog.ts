// Whether a large backlog costs throughput: the same steady life with 10,000 and with 1,000,000 jobs ready.
import { defineBenchmark } from "../benchmark.js";
import { payloadBytesMin } from "../job-payload.js";
import { chooseRacers, namesOf, readyRacers } from "../racers.js";
import { formatCount } from "../table.js";
import { comparisonTable } from "./comparison.js";
import { lifeContestants } from "./life-contestants.js";
import { type Lived, liveHeat } from "./live-heat.js";

const contestants = lifeContestants.filter(({ role }) => role !== "limit");

export const backlog = defineBenchmark({
  name: "backlog",
  summary: "the same life with few and with very many jobs ready",
  options: {
    jobs: { unit: "count", default: 1_000_000, range: [1_000, 100_000_000], help: "ready in the large one" },
    few: { unit: "count", default: 10_000, range: [1_000, 1_000_000], help: "ready in the small one" },
    seconds: { unit: "seconds", default: 60, range: [1, 3_600], help: "measured" },
    "warm-up": { unit: "seconds", default: 5, range: [1, 600], help: "before that, not measured" },
    bytes: { unit: "count", default: 200, range: [payloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each runs" },
    only: { unit: "text", default: "holdfast", help: `separated by commas: ${namesOf(contestants)}` },
  },
  check: ({ only }) => void chooseRacers(contestants, only),
  run: async (stage, { jobs, few, seconds, "warm-up": warmUpSeconds, bytes, rounds, only }) => {
    const { racers, missing } = await readyRacers(contestants, only, stage.log);
    const heats: (Lived & { readonly variant: string })[] = [];
    const variants = [
      { name: "few", title: `${formatCount(few)} ready`, ready: few },
      { name: "many", title: `${formatCount(jobs)} ready`, ready: jobs },
    ];
    for (let round = 1; round <= rounds; round += 1) {
      for (const contestant of racers) {
        for (const { name, ready } of round % 2 === 1 ? variants : variants.toReversed()) {
          const life = {
            payloadBytes: bytes,
            openMax: ready,
            preloaded: ready,
            warmUpSeconds,
            seconds,
            isDrained: false,
          };
          const label = `${contestant.name}_${name}_${round}`;
          const lived = await liveHeat(stage, { contestant, round, label, life, isPinned: false });
          stage.log(
            `round ${round} of ${rounds}, ${contestant.name}, ${formatCount(ready)} ready: ${formatCount(lived.jobsPerSecond)} jobs/s`,
          );
          heats.push({ ...lived, variant: name });
        }
      }
    }
    return {
      table: comparisonTable(racers, variants, heats),
      notes: [
        `Jobs committed in ${seconds} s after ${warmUpSeconds} s of warm-up. As many as end are submitted, so the backlog keeps its size.`,
        "The end is the last quarter of that time.",
        ...missing,
      ],
      measured: { heats },
    };
  },
});
