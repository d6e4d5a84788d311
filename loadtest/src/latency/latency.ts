// How long a job that is submitted waits for its handler, at a steady rate that leaves the hub room. Beside the hub one
// that commits each job in the simplest way and knows nothing else, which is the limit.
import { join } from "node:path";
import { defineBenchmark } from "../benchmark.js";
import type { BareHubParams, BareHubSays } from "../programs/bare-hub.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { OfferParams, OfferSays } from "../programs/latency-producer.js";
import type { StarterParams, StarterSays } from "../programs/latency-worker.js";
import { deadRowsQuery } from "../racers.js";
import type { Stage } from "../stage.js";
import type { Program } from "../start-program.js";
import { type Latencies, latenciesOf, spreadOf } from "../statistics.js";
import { formatCount, formatMs, type Table } from "../table.js";
import { timedPayloadBytesMin } from "./timed-payload.js";

/** So long it takes until what a job needs of the hub and the worker is compiled: before, the figures fall. */
export const warmUpSeconds = 15;
const upWithinMs = 60_000;
/** After the last submit: nothing is waited for longer. */
const tailMsMax = 15_000;

export const latency = defineBenchmark({
  name: "latency",
  summary: "from a submit to the start of its handler, at a steady rate",
  options: {
    rate: {
      unit: "per second",
      default: 500,
      range: [1, 20_000],
      help: "jobs offered, whatever becomes of them",
    },
    seconds: {
      unit: "seconds",
      default: 30,
      range: [1, 3_600],
      help: `measured, after ${warmUpSeconds} s of warm-up`,
    },
    bytes: { unit: "count", default: 200, range: [timedPayloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that it is done" },
  },
  run: async (stage, { rate, seconds, bytes, rounds }) => {
    const offers: Offer[] = [];
    const bare: Offer[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      for (const [hub, made] of [
        ["hub", offers],
        ["bare-hub", bare],
      ] as const) {
        const label = `latency_${hub === "hub" ? "" : "bare_"}${round}`;
        const offer = await offerAndWatch(stage, rate, seconds, bytes, label, { hub });
        stage.log(
          `round ${round} of ${rounds}, ${hub}: ${formatMs(offer.started.p50)} p50, ${formatMs(offer.started.p99)} p99`,
        );
        made.push(offer);
      }
    }
    const medianOf = (figure: (offer: Offer) => number) => spreadOf(offers.map(figure)).median;
    const lagOf = (figure: "p50" | "p99" | "max") => formatMs(medianOf(({ lag }) => lag[figure]));
    return {
      table: latencyTable([
        ["submit → handler start", offers.map(({ started }) => started)],
        ["submit call", offers.map(({ submitted }) => submitted)],
        ["the limit: submit → handler start", bare.map(({ started }) => started)],
        ["its submit call", bare.map(({ submitted }) => submitted)],
      ]),
      notes: [
        "The limit: the same producer and worker, and a server between them that commits one row for each submit and one statement for each message of results, without sessions, lanes, fences or events.",
        `${formatCount(rate)} jobs/s offered for ${seconds} s after ${warmUpSeconds} s of warm-up: ${formatCount(medianOf(({ sentPerSecond }) => sentPerSecond))} jobs/s sent, each by a unary call of its own that waits for no other.`,
        `Timed from when a call was made. The producer itself was late by ${lagOf("p50")} at the median, ${lagOf("p99")} at p99, ${lagOf("max")} at most.`,
        `Medians of ${rounds} rounds. Per job, warm-up included: ${formatCount(medianOf(({ walBytesPerJob }) => walBytesPerJob))} bytes of WAL, ${medianOf(({ commitsPerJob }) => commitsPerJob).toFixed(2)} commits; ${formatCount(medianOf(({ deadRows }) => deadRows))} dead rows at the end.`,
      ],
      measured: { offers, bare },
    };
  },
});

export interface Offer {
  readonly sentPerSecond: number;
  readonly started: Latencies;
  readonly submitted: Latencies;
  /** How late the producer itself was. */
  readonly lag: Latencies;
  readonly walBytesPerJob: number;
  readonly commitsPerJob: number;
  readonly deadRows: number;
}

/** Offers jobs to a hub of its own, by calls or by transactions of SQL, and sees when they start. */
export async function offerAndWatch(
  stage: Stage,
  rate: number,
  seconds: number,
  payloadBytes: number,
  database: string,
  {
    hub: hubProgram = "hub",
    producer = "latency-producer",
  }: { hub?: "hub" | "bare-hub"; producer?: "latency-producer" | "inbox-producer" } = {},
): Promise<Offer> {
  const databaseUrl = await stage.postgres.createDatabase(database);
  const warmUpJobs = rate * warmUpSeconds;
  const jobs = warmUpJobs + rate * seconds;
  const hub: Program<Pick<BareHubSays, "up">> =
    hubProgram === "hub"
      ? stage.start<HubParams, HubSays>("hub", { databaseUrl }, database)
      : stage.start<BareHubParams, BareHubSays>("bare-hub", { databaseUrl }, database);
  try {
    const { grpcAddress: address } = await hub.said("up", upWithinMs);
    const watch: StarterParams = {
      address,
      journal: join(stage.scratchDir, "journals", database),
      jobs,
      warmUpJobs,
    };
    const worker = stage.start<StarterParams, StarterSays>("latency-worker", watch, database);
    try {
      await worker.said("attached", upWithinMs);
      stage.log(`offering ${formatCount(rate)} jobs/s for ${warmUpSeconds + seconds} s`);
      const offer: OfferParams = { address, databaseUrl, rate, jobs, warmUpJobs, payloadBytes };
      const offering = stage.start<OfferParams, OfferSays>(producer, offer, database);
      try {
        const before = await stage.postgres.readCounters(database);
        const offered = await offering.said("offered", (warmUpSeconds + seconds) * 2_000 + tailMsMax);
        const starts = await worker.said("started", tailMsMax);
        const after = await stage.postgres.readCounters(database);
        return {
          sentPerSecond: offered.sent / offered.elapsedSeconds,
          started: latenciesOf(starts.startedAfterMs),
          submitted: latenciesOf(offered.answeredAfterMs),
          lag: latenciesOf(offered.sentLateMs),
          walBytesPerJob: (after.walBytes - before.walBytes) / jobs,
          commitsPerJob: (after.commits - before.commits) / jobs,
          deadRows: await stage.postgres.count(database, deadRowsQuery),
        };
      } finally {
        await offering.stop();
      }
    } finally {
      await worker.stop();
    }
  } finally {
    await hub.stop();
    await stage.postgres.dropDatabase(database);
  }
}

export function latencyTable(rows: readonly (readonly [string, readonly Latencies[]])[]): Table {
  const right = "right" as const;
  return {
    columns: [
      { title: "", align: "left" },
      ...["p50", "p90", "p99", "p99 min – max", "max", "samples"].map((title) => ({ title, align: right })),
    ],
    rows: rows.map(([title, rounds]) => {
      const medianOf = (figure: keyof Latencies) => spreadOf(rounds.map((round) => round[figure])).median;
      const p99 = spreadOf(rounds.map((round) => round.p99));
      return [
        title,
        ...[medianOf("p50"), medianOf("p90"), p99.median].map(formatMs),
        `${formatMs(p99.min)} – ${formatMs(p99.max)}`,
        formatMs(Math.max(...rounds.map(({ max }) => max))),
        formatCount(rounds.reduce((sum, { samples }) => sum + samples, 0)),
      ];
    }),
  };
}
