// What a live worker that has nothing to do costs the hub: memory, and processor time for its heartbeats. Beside it a
// grpc-js server that only echoes, which is the limit.
import { defineBenchmark } from "../benchmark.js";
import type { BareHubParams, BareHubSays } from "../programs/bare-hub.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { HolderParams, HolderSays } from "../programs/stream-holder.js";
import type { Stage } from "../stage.js";
import type { Program } from "../start-program.js";
import { spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";
import { shareOf, usageAfter } from "../usage.js";

const database = "streams";
const upWithinMs = 60_000;
const usageEveryMs = 250;
const emptySettleMs = 3_000;
/** Each has a socket, and some processes may not open more than so many files. */
const streamsPerHolder = 2_500;
const openMsMax = 60;

type Contestant = "holdfast" | "bare";

const titles: Readonly<Record<Contestant, string>> = {
  holdfast: "Holdfast",
  bare: "grpc-js, only echoing",
};

interface Idle {
  readonly contestant: Contestant;
  readonly round: number;
  readonly bytesPerStream: number;
  readonly heapBytesPerStream: number;
  readonly coreShare: number;
  readonly emptyCoreShare: number;
  readonly residentBytes: number;
}

export const streams = defineBenchmark({
  name: "streams",
  summary: "many live worker streams on one hub: memory of each, processor time of all",
  options: {
    streams: {
      unit: "count",
      default: 10_000,
      range: [1, 19_000],
      help: "workers, each on its own connection",
    },
    seconds: { unit: "seconds", default: 30, range: [1, 3_600], help: "measured" },
    "warm-up": {
      unit: "seconds",
      default: 15,
      range: [1, 600],
      help: "after the last attached, not measured",
    },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that it is done" },
  },
  run: async (stage, { streams: count, seconds, "warm-up": warmUpSeconds, rounds }) => {
    const idles: Idle[] = [];
    for (let round = 1; round <= rounds; round += 1)
      for (const contestant of ["holdfast", "bare"] as const) {
        const idle = await holdStreams(stage, contestant, round, count, warmUpSeconds, seconds);
        stage.log(
          `round ${round} of ${rounds}, ${contestant}: ${(idle.bytesPerStream / 1_000).toFixed(1)} kB each, ${(idle.coreShare * 100).toFixed(1)} % of a core`,
        );
        idles.push(idle);
      }
    return {
      table: streamsTable(idles),
      notes: [
        `${formatCount(count)} sessions, each with a heartbeat every 5 s as the hub asks for by default, for ${seconds} s after ${warmUpSeconds} s of warm-up.`,
        "Only echoing: the same streams on a grpc-js server without sessions and ledger, which answers each heartbeat at once.",
        "Memory is what the server's process holds more than before the first stream, divided by the streams: collected or not, and with what their attaching left behind.",
        "Processor time is that of the server's process; PostgreSQL renews each session besides.",
      ],
      measured: { idles },
    };
  },
});

async function holdStreams(
  stage: Stage,
  contestant: Contestant,
  round: number,
  count: number,
  warmUpSeconds: number,
  seconds: number,
): Promise<Idle> {
  const databaseUrl = await stage.postgres.createDatabase(database);
  const label = `streams_${contestant}_${round}`;
  const server: Program<BareHubSays> =
    contestant === "bare"
      ? stage.start<BareHubParams, BareHubSays>("bare-hub", { databaseUrl, usageEveryMs }, label)
      : stage.start<HubParams, HubSays>("hub", { databaseUrl, usageEveryMs }, label);
  const holders: Program<HolderSays>[] = [];
  try {
    const { grpcAddress: address } = await server.said("up", upWithinMs);
    const beforeEmpty = await usageAfter(server, emptySettleMs);
    const empty = await usageAfter(server, emptySettleMs);
    for (let left = count; left > 0; left -= streamsPerHolder) {
      const params: HolderParams = { address, streams: Math.min(left, streamsPerHolder) };
      const holder = stage.start<HolderParams, HolderSays>("stream-holder", params, `${label}-${left}`);
      holders.push(holder);
      await holder.said("held", upWithinMs + count * openMsMax);
    }
    const from = await usageAfter(server, warmUpSeconds * 1_000);
    const to = await usageAfter(server, seconds * 1_000);
    // Fails when one has ended meanwhile: then these were not all live.
    for (const holder of holders) holder.assertRunning();
    return {
      contestant,
      round,
      bytesPerStream: (to.residentBytes - empty.residentBytes) / count,
      heapBytesPerStream: (to.heapBytes - empty.heapBytes) / count,
      coreShare: shareOf(from, to),
      emptyCoreShare: shareOf(beforeEmpty, empty),
      residentBytes: to.residentBytes,
    };
  } finally {
    await Promise.all(holders.map((holder) => holder.stop()));
    await server.stop();
    await stage.postgres.dropDatabase(database);
  }
}

function streamsTable(idles: readonly Idle[]): Table {
  const right = "right" as const;
  const kilobytes = (bytes: number) => `${(bytes / 1_000).toFixed(1)} kB`;
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const contestants = [...new Set(idles.map(({ contestant }) => contestant))];
  const row = (title: string, fieldOf: (idle: Idle) => number, format: (value: number) => string) => [
    title,
    ...contestants.flatMap((contestant) => {
      const own = idles.filter((idle) => idle.contestant === contestant);
      const { median, min, max } = spreadOf(own.map(fieldOf));
      return [format(median), `${format(min)} – ${format(max)}`];
    }),
  ];
  return {
    columns: [
      { title: "", align: "left" },
      ...contestants.flatMap((contestant) => [
        { title: titles[contestant], align: right },
        { title: "min – max", align: right },
      ]),
    ],
    rows: [
      row("memory per stream", ({ bytesPerStream }) => bytesPerStream, kilobytes),
      row("of it objects", ({ heapBytesPerStream }) => heapBytesPerStream, kilobytes),
      row("processor, of a core", ({ coreShare }) => coreShare, percent),
      row("the same without a stream", ({ emptyCoreShare }) => emptyCoreShare, percent),
      row("memory of the server", ({ residentBytes }) => residentBytes, megabytes),
    ],
  };
}
