// How long a job that is submitted waits for its handler, at a steady rate that leaves the hub room.
import { join } from "node:path";
import { defineBenchmark } from "../benchmark.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { OfferParams, OfferSays } from "../programs/latency-producer.js";
import type { StarterParams, StarterSays } from "../programs/latency-worker.js";
import type { Stage } from "../stage.js";
import { type Latencies, latenciesOf } from "../statistics.js";
import { formatCount, formatMs, type Table } from "../table.js";
import { timedPayloadBytesMin } from "./timed-payload.js";

const warmUpSeconds = 5;
const database = "latency";
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
  },
  run: async (stage, { rate, seconds, bytes }) => {
    const { offered, starts } = await offerAndWatch(stage, rate, seconds, bytes);
    const started = latenciesOf(starts.startedAfterMs);
    const submitted = latenciesOf(offered.answeredAfterMs);
    const lag = latenciesOf(offered.sentLateMs);
    return {
      table: latencyTable([
        ["submit → handler start", started],
        ["submit call", submitted],
      ]),
      notes: [
        `${formatCount(rate)} jobs/s offered for ${seconds} s after ${warmUpSeconds} s of warm-up: ${formatCount(offered.sent / offered.elapsedSeconds)} jobs/s sent, each by a unary call of its own that waits for no other.`,
        `Timed from when a call was made. The producer itself was late by ${formatMs(lag.p50)} at the median, ${formatMs(lag.p99)} at p99, ${formatMs(lag.max)} at most.`,
      ],
      measured: { sent: offered.sent, elapsedSeconds: offered.elapsedSeconds, started, submitted, lag },
    };
  },
});

async function offerAndWatch(stage: Stage, rate: number, seconds: number, payloadBytes: number) {
  const databaseUrl = await stage.postgres.createDatabase(database);
  const warmUpJobs = rate * warmUpSeconds;
  const jobs = warmUpJobs + rate * seconds;
  const hub = stage.start<HubParams, HubSays>("hub", { databaseUrl }, "latency");
  try {
    const { grpcAddress: address } = await hub.said("up", upWithinMs);
    const watch: StarterParams = { address, journal: join(stage.scratchDir, "journal"), jobs, warmUpJobs };
    const worker = stage.start<StarterParams, StarterSays>("latency-worker", watch, "latency");
    try {
      await worker.said("attached", upWithinMs);
      stage.log(`offering ${formatCount(rate)} jobs/s for ${warmUpSeconds + seconds} s`);
      const offer: OfferParams = { address, rate, jobs, warmUpJobs, payloadBytes };
      const producer = stage.start<OfferParams, OfferSays>("latency-producer", offer, "latency");
      try {
        const offered = await producer.said("offered", (warmUpSeconds + seconds) * 2_000 + tailMsMax);
        return { offered, starts: await worker.said("started", tailMsMax) };
      } finally {
        await producer.stop();
      }
    } finally {
      await worker.stop();
    }
  } finally {
    await hub.stop();
    await stage.postgres.dropDatabase(database);
  }
}

function latencyTable(rows: readonly (readonly [string, Latencies])[]): Table {
  const right = "right" as const;
  return {
    columns: [
      { title: "", align: "left" },
      ...["p50", "p90", "p99", "max", "samples"].map((title) => ({ title, align: right })),
    ],
    rows: rows.map(([title, { p50, p90, p99, max, samples }]) => [
      title,
      ...[p50, p90, p99, max].map(formatMs),
      formatCount(samples),
    ]),
  };
}
