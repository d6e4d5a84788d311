// How fast a backlog is worked off: claim, run nothing, report, committed. The contestants take turns on one server,
// each on a fresh database, so that what the machine does meanwhile meets them all.
import { defineBenchmark } from "../benchmark.js";
import { payloadBytesMin } from "../job-payload.js";
import { UsageError } from "../options.js";
import type { Stage } from "../stage.js";
import { formatCount } from "../table.js";
import type { Contestant, DrainMarks, Heat } from "./contestant.js";
import { fleetContestants } from "./fleet.js";
import { graphile } from "./graphile.js";
import { holdfast, holdfastNoJournal } from "./holdfast.js";
import { type Drained, drainTable } from "./ranking.js";
import { rawLedger } from "./raw-ledger.js";

const contestants: readonly Contestant[] = [holdfast, holdfastNoJournal, rawLedger, graphile];
/** Run only when they are asked for: the fleet beside itself. */
const known: readonly Contestant[] = [...contestants, ...fleetContestants];

const notes = [
  "Counted from the first lease to the last committed verdict; each database was asked afterwards whether all jobs had ended well.",
  "Holdfast and the raw SQL keep every job and its history; graphile-worker deletes a job that is done.",
  "WAL and commits are the whole server's and the whole database's, starts of the programs included.",
];

export const drain = defineBenchmark({
  name: "drain",
  summary: "work off a backlog, beside the same SQL without a hub and beside graphile-worker",
  options: {
    jobs: { unit: "count", default: 200_000, range: [1_000, 10_000_000], help: "jobs in the backlog" },
    bytes: { unit: "count", default: 200, range: [payloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each contestant runs" },
    only: {
      unit: "text",
      default: null,
      help: `contestants, separated by commas: ${known.map(({ name }) => name).join(", ")}`,
    },
  },
  check: ({ only }) => void chosen(only),
  run: async (stage, { jobs, bytes, rounds, only }) => {
    const racers = chosen(only);
    const heats: Drained[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      for (const contestant of turnedBy(racers, round - 1)) {
        const drained = await runHeat(stage, contestant, round, jobs, bytes);
        stage.log(
          `round ${round} of ${rounds}, ${contestant.name}: ${formatCount(drained.jobsPerSecond)} jobs/s`,
        );
        heats.push(drained);
      }
    }
    const settings = Object.fromEntries(racers.map(({ name, settings }) => [name, settings]));
    return { table: drainTable(racers, heats), notes, measured: { settings, heats } };
  },
});

/** @throws UsageError */
function chosen(only: string | null): readonly Contestant[] {
  if (only === null) return contestants;
  return only.split(",").map((name) => {
    const contestant = known.find((one) => one.name === name);
    if (contestant) return contestant;
    throw new UsageError(
      `--only: no contestant "${name}"; there are ${known.map((c) => c.name).join(", ")}.`,
    );
  });
}

/** Each round begins with another, so that nobody always follows the same one. */
function turnedBy<Item>(items: readonly Item[], by: number): readonly Item[] {
  const from = by % items.length;
  return [...items.slice(from), ...items.slice(0, from)];
}

async function runHeat(
  stage: Stage,
  contestant: Contestant,
  round: number,
  jobs: number,
  payloadBytes: number,
): Promise<Drained> {
  const { postgres } = stage;
  const database = `${contestant.name}_${round}`;
  const databaseUrl = await postgres.createDatabase(database);
  // Five times slower than anything here is a failure, not a result.
  const stepMsMax = 60_000 + jobs * 2;
  const heat: Heat = { stage, label: database, databaseUrl, jobs, payloadBytes, stepMsMax };
  try {
    await contestant.preload(heat);
    await postgres.settle(database);
    const before = await postgres.readCounters(database);
    let walBytes = 0;
    const took: DrainMarks[] = [];
    await contestant.drain(heat, async (marks) => {
      took.push(marks);
      walBytes = (await postgres.readCounters(database)).walBytes - before.walBytes;
    });
    // What a connection committed is counted once it has ended.
    const { commits } = await postgres.readCounters(database);
    const unfinished = await postgres.count(database, contestant.unfinishedQuery);
    const marks = took[0];
    if (marks === undefined || unfinished !== 0)
      throw new Error(`${contestant.name} left ${unfinished} of ${jobs} jobs unfinished.`);
    const elapsedMs = marks.lastVerdictAtMs - marks.firstLeaseAtMs;
    return {
      contestant: contestant.name,
      round,
      jobs,
      elapsedMs,
      jobsPerSecond: (jobs / elapsedMs) * 1_000,
      walBytesPerJob: walBytes / jobs,
      commitsPerJob: (commits - before.commits) / jobs,
    };
  } finally {
    await postgres.dropDatabase(database);
  }
}
