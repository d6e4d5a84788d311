import type { Racer } from "../drain/contestant.js";
import { spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";
import type { Lived } from "./live-heat.js";

const right = "right" as const;
const endShare = 0.25;

/** Jobs per second in the last quarter: what it has come to. */
export function endRate(perSecond: readonly number[]): number {
  const seconds = Math.max(1, Math.round(perSecond.length * endShare));
  return perSecond.slice(-seconds).reduce((sum, rate) => sum + rate, 0) / seconds;
}

/** Each contestant's variants below each other, compared with its own first. */
export function comparisonTable(
  racers: readonly Pick<Racer, "name" | "title">[],
  variants: readonly { readonly name: string; readonly title: string }[],
  heats: readonly (Lived & { readonly variant: string })[],
): Table {
  return {
    columns: [
      { title: "contestant", align: "left" },
      { title: "with", align: "left" },
      { title: "jobs/s, median", align: right },
      { title: "min – max", align: right },
      { title: "× first", align: right },
      { title: "at the end", align: right },
      { title: "× first", align: right },
      { title: "WAL bytes/job", align: right },
      { title: "commits/job", align: right },
      { title: "dead rows", align: right },
    ],
    rows: racers.flatMap((racer) => {
      const measured = variants.map((variant) => {
        const own = heats.filter((heat) => heat.contestant === racer.name && heat.variant === variant.name);
        return {
          title: variant.title,
          rate: spreadOf(own.map((heat) => heat.jobsPerSecond)),
          end: spreadOf(own.map((heat) => endRate(heat.perSecond))).median,
          wal: spreadOf(own.map((heat) => heat.walBytesPerJob)).median,
          commits: spreadOf(own.map((heat) => heat.commitsPerJob)).median,
          dead: spreadOf(own.map((heat) => heat.deadRows)).median,
        };
      });
      const first = measured[0] as (typeof measured)[number];
      return measured.map(({ title, rate, end, wal, commits, dead }) => [
        racer.title,
        title,
        formatCount(rate.median),
        `${formatCount(rate.min)} – ${formatCount(rate.max)}`,
        (rate.median / first.rate.median).toFixed(2),
        formatCount(end),
        (end / first.end).toFixed(2),
        formatCount(wal),
        commits.toFixed(4),
        formatCount(dead),
      ]);
    }),
  };
}
