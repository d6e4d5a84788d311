import { spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";

/** One contestant's one round. */
export interface Drained {
  readonly contestant: string;
  readonly round: number;
  readonly jobs: number;
  readonly elapsedMs: number;
  readonly jobsPerSecond: number;
  readonly walBytesPerJob: number;
  readonly commitsPerJob: number;
}

const right = "right" as const;

/** Medians over the rounds, each beside the two that they are to be read against. */
export function drainTable(
  contestants: readonly { readonly name: string; readonly title: string }[],
  heats: readonly Drained[],
): Table {
  const ofName = (name: string) => heats.filter(({ contestant }) => contestant === name);
  const medianOf = (name: string) => {
    const own = ofName(name);
    return own.length === 0 ? null : spreadOf(own.map((heat) => heat.jobsPerSecond)).median;
  };
  const ratio = (value: number, to: string) => {
    const reference = medianOf(to);
    return reference === null ? "–" : (value / reference).toFixed(2);
  };
  return {
    columns: [
      { title: "contestant", align: "left" },
      { title: "jobs/s, median", align: right },
      { title: "min – max", align: right },
      { title: "× raw SQL", align: right },
      { title: "× graphile", align: right },
      { title: "WAL bytes/job", align: right },
      { title: "commits/job", align: right },
    ],
    rows: contestants.map(({ name, title }) => {
      const own = ofName(name);
      const { median, min, max } = spreadOf(own.map((heat) => heat.jobsPerSecond));
      return [
        title,
        formatCount(median),
        `${formatCount(min)} – ${formatCount(max)}`,
        ratio(median, "raw"),
        ratio(median, "graphile"),
        formatCount(spreadOf(own.map((heat) => heat.walBytesPerJob)).median),
        spreadOf(own.map((heat) => heat.commitsPerJob)).median.toFixed(4),
      ];
    }),
  };
}
