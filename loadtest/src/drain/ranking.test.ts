import { expect, test } from "vitest";
import { type Drained, drainTable } from "./ranking.js";

const heat = (contestant: string, jobsPerSecond: number): Drained => ({
  contestant,
  round: 1,
  jobs: 1_000,
  elapsedMs: 1_000,
  jobsPerSecond,
  walBytesPerJob: 1_200,
  commitsPerJob: 0.01,
  deadRows: 12_345,
});
const holdfast = { name: "holdfast", title: "Holdfast", role: "holdfast" } as const;
const raw = { name: "raw", title: "Raw SQL", role: "limit" } as const;
const peers = [
  { name: "slow", title: "Slow", role: "peer" },
  { name: "quick", title: "Quick", role: "peer" },
] as const;

test("a contestant is ranked by its median, beside the raw SQL of the same run", () => {
  const heats = [10_000, 30_000, 20_000].map((rate) => heat("holdfast", rate));
  const { rows } = drainTable([holdfast, raw], [...heats, heat("raw", 40_000)]);
  expect(rows[0]).toEqual([
    "Holdfast",
    "20,000",
    "10,000 – 30,000",
    "0.50",
    "–",
    "1,200",
    "0.0100",
    "12,345",
  ]);
  expect(rows[1]?.[3]).toBe("1.00");
});

test("everybody is compared with the best peer, by its median and not by its best round", () => {
  const heats = [heat("slow", 100), heat("slow", 100), heat("slow", 99_000), heat("quick", 5_000)];
  const { rows } = drainTable([holdfast, ...peers], [heat("holdfast", 10_000), ...heats]);
  expect(rows.map((row) => row[4])).toEqual(["2.00", "0.02", "1.00"]);
});

test("no ratio is given to a contestant that did not run", () => {
  const { rows } = drainTable([holdfast], [heat("holdfast", 10_000)]);
  expect(rows[0]?.slice(3, 5)).toEqual(["–", "–"]);
});
