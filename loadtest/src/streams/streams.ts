// What a live worker that has nothing to do costs the hub: memory, and processor time for its heartbeats.
import { defineBenchmark } from "../benchmark.js";
import { shareOf, usageAfter } from "../hub-usage.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { HolderParams, HolderSays } from "../programs/stream-holder.js";
import type { Stage } from "../stage.js";
import type { Program } from "../start-program.js";
import { type Spread, spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";

const database = "streams";
const upWithinMs = 60_000;
const usageEveryMs = 250;
const emptySettleMs = 3_000;
/** Each has a socket, and some processes may not open more than so many files. */
const streamsPerHolder = 2_500;
const openMsMax = 60;

interface Idle {
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
    for (let round = 1; round <= rounds; round += 1) {
      const idle = await holdStreams(stage, round, count, warmUpSeconds, seconds);
      stage.log(
        `round ${round} of ${rounds}: ${(idle.bytesPerStream / 1_000).toFixed(1)} kB each, ${(idle.coreShare * 100).toFixed(1)} % of a core`,
      );
      idles.push(idle);
    }
    return {
      table: streamsTable(idles),
      notes: [
        `${formatCount(count)} sessions, each with a heartbeat every 5 s as the hub asks for by default, for ${seconds} s after ${warmUpSeconds} s of warm-up.`,
        "Memory is what the hub's process holds more than before the first stream, divided by the streams: collected or not, and with what their attaching left behind.",
        "Processor time is that of the hub's process; PostgreSQL renews each session besides.",
      ],
      measured: { idles },
    };
  },
});

async function holdStreams(
  stage: Stage,
  round: number,
  count: number,
  warmUpSeconds: number,
  seconds: number,
): Promise<Idle> {
  const databaseUrl = await stage.postgres.createDatabase(database);
  const label = `streams_${round}`;
  const hub = stage.start<HubParams, HubSays>("hub", { databaseUrl, usageEveryMs }, label);
  const holders: Program<HolderSays>[] = [];
  try {
    const { grpcAddress: address } = await hub.said("up", upWithinMs);
    const beforeEmpty = await usageAfter(hub, emptySettleMs);
    const empty = await usageAfter(hub, emptySettleMs);
    for (let left = count; left > 0; left -= streamsPerHolder) {
      const params: HolderParams = { address, streams: Math.min(left, streamsPerHolder) };
      const holder = stage.start<HolderParams, HolderSays>("stream-holder", params, `${label}-${left}`);
      holders.push(holder);
      await holder.said("held", upWithinMs + count * openMsMax);
    }
    const from = await usageAfter(hub, warmUpSeconds * 1_000);
    const to = await usageAfter(hub, seconds * 1_000);
    // Fails when one has ended meanwhile: then these were not all live.
    for (const holder of holders) holder.assertRunning();
    return {
      round,
      bytesPerStream: (to.residentBytes - empty.residentBytes) / count,
      heapBytesPerStream: (to.heapBytes - empty.heapBytes) / count,
      coreShare: shareOf(from, to),
      emptyCoreShare: shareOf(beforeEmpty, empty),
      residentBytes: to.residentBytes,
    };
  } finally {
    await Promise.all(holders.map((holder) => holder.stop()));
    await hub.stop();
    await stage.postgres.dropDatabase(database);
  }
}

function streamsTable(idles: readonly Idle[]): Table {
  const right = "right" as const;
  const row = (title: string, values: readonly number[], format: (value: number) => string) => {
    const { median, min, max }: Spread = spreadOf(values);
    return [title, format(median), `${format(min)} – ${format(max)}`];
  };
  const kilobytes = (bytes: number) => `${(bytes / 1_000).toFixed(1)} kB`;
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const each = <Field extends keyof Idle>(field: Field) => idles.map((idle) => idle[field]);
  return {
    columns: [
      { title: "", align: "left" },
      { title: "median", align: right },
      { title: "min – max", align: right },
    ],
    rows: [
      row("memory per stream", each("bytesPerStream"), kilobytes),
      row("of it objects", each("heapBytesPerStream"), kilobytes),
      row("processor, of a core", each("coreShare"), percent),
      row("the same without a stream", each("emptyCoreShare"), percent),
      row("memory of the hub", each("residentBytes"), (bytes) => `${(bytes / 1e6).toFixed(0)} MB`),
    ],
  };
}
