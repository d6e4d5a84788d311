import { spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";
import type { Racer } from "./contestant.js";

/** One contestant's one round. */
export interface Drained {
  readonly contestant: string;
  readonly round: number;
  /** Those that count. */
  readonly jobs: number;
  readonly elapsedMs: number;
  readonly jobsPerSecond: number;
  readonly walBytesPerJob: number;
  readonly commitsPerJob: number;
  readonly deadRows: number;
}

/** What a rank is made of, in whichever benchmark. */
export type Ranked = Omit<Drained, "jobs" | "elapsedMs">;

const right = "right" as const;

/** Medians over the rounds, each beside the limit and the best peer of the same run. */
export function drainTable(
  racers: readonly Pick<Racer, "name" | "title" | "role">[],
  heats: readonly Ranked[],
): Table {
  const ofName = (name: string) => heats.filter(({ contestant }) => contestant === name);
  const medianOf = (name: string) => spreadOf(ofName(name).map((heat) => heat.jobsPerSecond)).median;
  const bestOf = (role: Racer["role"]) => {
    const medians = racers.filter((racer) => racer.role === role).map(({ name }) => medianOf(name));
    return medians.length === 0 ? null : Math.max(...medians);
  };
  const limit = bestOf("limit");
  const bestPeer = bestOf("peer");
  const ratio = (value: number, reference: number | null) =>
    reference === null ? "–" : (value / reference).toFixed(2);
  return {
    columns: [
      { title: "contestant", align: "left" },
      { title: "jobs/s, median", align: right },
      { title: "min – max", align: right },
      { title: "× raw SQL", align: right },
      { title: "× best peer", align: right },
      { title: "WAL bytes/job", align: right },
      { title: "commits/job", align: right },
      { title: "dead rows", align: right },
    ],
    rows: racers.map(({ name, title }) => {
      const own = ofName(name);
      const { median, min, max } = spreadOf(own.map((heat) => heat.jobsPerSecond));
      return [
        title,
        formatCount(median),
        `${formatCount(min)} – ${formatCount(max)}`,
        ratio(median, limit),
        ratio(median, bestPeer),
        formatCount(spreadOf(own.map((heat) => heat.walBytesPerJob)).median),
        spreadOf(own.map((heat) => heat.commitsPerJob)).median.toFixed(4),
        formatCount(spreadOf(own.map((heat) => heat.deadRows)).median),
      ];
    }),
  };
}
