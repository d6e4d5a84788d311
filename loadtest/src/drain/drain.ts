// How fast a backlog is worked off: claim, run nothing, report, committed. The contestants take turns on one server,
// each on a fresh database, so that what the machine does meanwhile meets them all. The first jobs warm up whoever runs
// them, and do not count.
import { defineBenchmark } from "../benchmark.js";
import { payloadBytesMin } from "../job-payload.js";
import { chooseRacers, deadRowsQuery, namesOf, readyRacers, turnedBy } from "../racers.js";
import type { Stage } from "../stage.js";
import { formatCount } from "../table.js";
import type { Contestant, DrainMarks, Heat } from "./contestant.js";
import { fleetContestants } from "./fleet.js";
import { graphile } from "./graphile.js";
import { holdfast, holdfastNoJournal } from "./holdfast.js";
import { pgBoss } from "./pg-boss.js";
import { type Drained, drainTable } from "./ranking.js";
import { rawLedger } from "./raw-ledger.js";
import { river } from "./river.js";

const contestants: readonly Contestant[] = [holdfast, holdfastNoJournal, rawLedger, graphile, pgBoss, river];
/** Run only when they are asked for: a fleet of hubs, beside itself. */
const known: readonly Contestant[] = [...contestants, ...fleetContestants];
const usual = contestants.map(({ name }) => name).join(",");

const warmUpShare = 0.1;

const notes = [
  "Counted from the verdicts on the first tenth of the backlog, which warms up, to the last committed verdict; each database was asked afterwards whether all jobs had ended well.",
  "Holdfast and the raw SQL keep every job and its history; graphile-worker deletes a job that is done; pg-boss and River keep its row.",
  "WAL and commits are the whole server's and the whole database's, warm-up and starts of the programs included. Dead rows are those that vacuum had not yet removed at the end.",
];

export const drain = defineBenchmark({
  name: "drain",
  summary:
    "work off a backlog, beside the same SQL without a hub and beside graphile-worker, pg-boss and River",
  options: {
    jobs: { unit: "count", default: 200_000, range: [1_000, 10_000_000], help: "jobs in the backlog" },
    bytes: { unit: "count", default: 200, range: [payloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each contestant runs" },
    only: {
      unit: "text",
      default: null,
      help: `contestants, separated by commas: ${namesOf(known)}`,
    },
  },
  check: ({ only }) => void chooseRacers(known, only ?? usual),
  run: async (stage, { jobs, bytes, rounds, only }) => {
    const { racers, missing } = await readyRacers(known, only ?? usual, stage.log);
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
    return { table: drainTable(racers, heats), notes: [...notes, ...missing], measured: { settings, heats } };
  },
});

/** One try of one contestant, on a database of its own. */
export async function runHeat(
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
  const warmUpJobs = Math.max(1, Math.floor(jobs * warmUpShare));
  const heat: Heat = { stage, label: database, databaseUrl, jobs, warmUpJobs, payloadBytes, stepMsMax };
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
    const deadRows = await postgres.count(database, deadRowsQuery);
    const marks = took[0];
    if (marks === undefined || unfinished !== 0)
      throw new Error(`${contestant.name} left ${unfinished} of ${jobs} jobs unfinished.`);
    const elapsedMs = marks.lastVerdictAtMs - marks.warmAtMs;
    return {
      contestant: contestant.name,
      round,
      jobs: jobs - warmUpJobs,
      elapsedMs,
      jobsPerSecond: ((jobs - warmUpJobs) / elapsedMs) * 1_000,
      walBytesPerJob: walBytes / jobs,
      commitsPerJob: (commits - before.commits) / jobs,
      deadRows,
    };
  } finally {
    await postgres.dropDatabase(database);
  }
}
