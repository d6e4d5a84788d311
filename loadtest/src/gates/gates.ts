// What limits cost, whom they hold up, and whether an adaptive one finds its rate.
import { defineBenchmark } from "../benchmark.js";
import type { Drained } from "../drain/ranking.js";
import { payloadBytesMin } from "../job-payload.js";
import { timedPayloadBytesMin } from "../latency/timed-payload.js";
import { UsageError } from "../options.js";
import { spreadOf } from "../statistics.js";
import { formatCount, formatMs } from "../table.js";
import { type Adapted, measureAdaptive } from "./adaptive.js";
import { gatedContestants, measureCost, plainName } from "./cost.js";
import { measureNeighbour, type NeighbourRound } from "./neighbour.js";

const parts = ["cost", "neighbour", "adaptive"];
const settleSeconds = 30;
const right = "right" as const;

export const gates = defineBenchmark({
  name: "gates",
  summary: "what open limits cost, whom a shut one holds up, and where an adaptive one settles",
  options: {
    jobs: { unit: "count", default: 100_000, range: [1_000, 10_000_000], help: "jobs of a drain" },
    throttled: {
      unit: "count",
      default: 50_000,
      range: [1, 1_000_000],
      help: "jobs of the throttled source",
    },
    free: { unit: "count", default: 1_000, range: [100, 1_000_000], help: "jobs of the free one" },
    limit: { unit: "per second", default: 200, range: [10, 10_000], help: "what the called service bears" },
    seconds: {
      unit: "seconds",
      default: 90,
      range: [10, 3_600],
      help: `of calls, after ${settleSeconds} s in which the rate settles`,
    },
    bytes: {
      unit: "count",
      default: 200,
      range: [Math.max(payloadBytesMin, timedPayloadBytesMin), 65_536],
      help: "bytes of a payload",
    },
    rounds: {
      unit: "count",
      default: 3,
      range: [1, 100],
      help: "times that each is measured, but for the rate",
    },
    only: { unit: "text", default: null, help: `parts, separated by commas: ${parts.join(", ")}` },
  },
  check: ({ only }) => void chosen(only),
  run: async (stage, { jobs, throttled, free, limit, seconds, bytes, rounds, only }) => {
    const wanted = chosen(only);
    const cost = wanted.has("cost") ? await measureCost(stage, jobs, bytes, rounds) : [];
    const neighbour = wanted.has("neighbour")
      ? await measureNeighbour(stage, throttled, free, bytes, rounds)
      : [];
    const adapted = wanted.has("adaptive")
      ? await measureAdaptive(stage, limit, settleSeconds, seconds, bytes)
      : null;
    return {
      table: {
        columns: [
          { title: "", align: "left" as const },
          { title: "without", align: right },
          { title: "with", align: right },
          { title: "ratio", align: right },
          { title: "of the rounds", align: right },
        ],
        rows: [...costRows(cost), ...neighbourRows(neighbour), ...adaptiveRows(adapted)],
      },
      notes: [
        `Drain: ${formatCount(jobs)} jobs of one lane, with no limit, with five that stay open before each of them (blackout, breaker, adaptive bucket, two quotas), and with four more that the ledger judges in each claim (two caps, a budget, seats); medians of ${rounds} rounds, taking turns.`,
        `Free jobs: from a submit to the start of its handler, at 200/s, alone and behind ${formatCount(throttled)} jobs whose source lets 100 a second start; medians.`,
        `Adaptive: a service that answers ${formatCount(limit)} requests in each second of the clock and refuses the others with Retry-After 1; the bucket is set to ${formatCount(5 * limit)}/s. Counted by the service, ${settleSeconds} s after the start.`,
      ],
      measured: { cost, neighbour, adapted },
    };
  },
});

/** @throws UsageError for a part that there is not */
function chosen(only: string | null): ReadonlySet<string> {
  const names = only === null ? parts : only.split(",");
  for (const name of names)
    if (!parts.includes(name))
      throw new UsageError(`--only: no part "${name}"; there are ${parts.join(", ")}.`);
  return new Set(names);
}

function costRows(heats: readonly Drained[]): string[][] {
  if (heats.length === 0) return [];
  const plain = medianOf(heats, plainName);
  return gatedContestants.map(({ name, title }) => {
    const gated = medianOf(heats, name);
    const ratios = ratiosOf(heats, name);
    return [
      `drain, ${title}, jobs/s`,
      formatCount(plain),
      formatCount(gated),
      (gated / plain).toFixed(3),
      `${ratios.min.toFixed(3)} – ${ratios.max.toFixed(3)}`,
    ];
  });
}

function medianOf(heats: readonly Drained[], name: string): number {
  return spreadOf(heats.filter(({ contestant }) => contestant === name).map((heat) => heat.jobsPerSecond))
    .median;
}

function ratiosOf(heats: readonly Drained[], name: string) {
  const rounds = [...new Set(heats.map(({ round }) => round))];
  const speed = (round: number, name: string) =>
    heats.find((heat) => heat.round === round && heat.contestant === name)?.jobsPerSecond ?? Number.NaN;
  return spreadOf(rounds.map((round) => speed(round, name) / speed(round, plainName)));
}

function neighbourRows(rounds: readonly NeighbourRound[]): string[][] {
  if (rounds.length === 0) return [];
  return (["p50", "p99"] as const).map((figure) => {
    const alone = spreadOf(rounds.map((round) => round.alone[figure])).median;
    const behind = spreadOf(rounds.map((round) => round.behind[figure])).median;
    const ratios = spreadOf(rounds.map((round) => round.behind[figure] / round.alone[figure]));
    return [
      `free job to its start, ${figure}`,
      formatMs(alone),
      formatMs(behind),
      (behind / alone).toFixed(2),
      `${ratios.min.toFixed(2)} – ${ratios.max.toFixed(2)}`,
    ];
  });
}

function adaptiveRows(adapted: Adapted | null): string[][] {
  if (adapted === null) return [];
  const { limit, answeredPerSecond, refusedShare, jobs, lost } = adapted;
  return [
    [
      "adaptive rate, answers/s",
      formatCount(limit),
      formatCount(answeredPerSecond),
      (answeredPerSecond / limit).toFixed(3),
      `${(100 * refusedShare).toFixed(2)} % refused, ${lost} of ${formatCount(jobs)} not done`,
    ],
  ];
}
