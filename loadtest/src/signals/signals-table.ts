import { latenciesOf, spreadOf } from "../statistics.js";
import { formatCount, formatMs, type Table } from "../table.js";

/** What an acknowledgement of each outlives. */
const outlives = {
  holdfast: "a killed hub or database, and power loss",
  jetstream: "a killed server",
  "jetstream, sync always": "a killed server, and power loss",
} as const;

export type Contestant = keyof typeof outlives;

export interface SignalHeat {
  readonly contestant: Contestant;
  readonly publishedPerSecond: number;
  readonly restoredPerSecond: number;
  readonly followedAfterMs: readonly number[];
  readonly answeredAfterMs: readonly number[];
  /** By a consumer with a cursor; empty where that was not tried. */
  readonly consumedAfterMs: readonly number[];
}

export function heatLine(heat: SignalHeat): string {
  const { contestant, publishedPerSecond, restoredPerSecond, followedAfterMs } = heat;
  const rates = `${formatCount(publishedPerSecond)} published/s, ${formatCount(restoredPerSecond)} restored/s`;
  return `${contestant}: ${rates}, followed after ${formatMs(latenciesOf(followedAfterMs).p50)} at p50`;
}

/** One row for each contestant: medians of its rounds, latencies over all of them. */
export function signalsTable(heats: readonly SignalHeat[]): Table {
  const right = "right" as const;
  const titles = [
    ...["published/s", "min", "restored/s", "min"],
    ...["followed p50", "p99", "consumed p50", "receipt p50"],
  ];
  return {
    columns: [
      { title: "", align: "left" },
      ...titles.map((title) => ({ title, align: right })),
      { title: "an acknowledgement outlives", align: "left" },
    ],
    rows: [...new Set(heats.map(({ contestant }) => contestant))].map((contestant) => {
      const own = heats.filter((heat) => heat.contestant === contestant);
      const published = spreadOf(own.map(({ publishedPerSecond }) => publishedPerSecond));
      const restored = spreadOf(own.map(({ restoredPerSecond }) => restoredPerSecond));
      const followed = latenciesOf(own.flatMap(({ followedAfterMs }) => followedAfterMs));
      const answered = latenciesOf(own.flatMap(({ answeredAfterMs }) => answeredAfterMs));
      const consumed = own.flatMap(({ consumedAfterMs }) => consumedAfterMs);
      return [
        contestant,
        ...[published.median, published.min, restored.median, restored.min].map(formatCount),
        ...[followed.p50, followed.p99].map(formatMs),
        consumed.length > 0 ? formatMs(latenciesOf(consumed).p50) : "—",
        formatMs(answered.p50),
        outlives[contestant],
      ];
    }),
  };
}
