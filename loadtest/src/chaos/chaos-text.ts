import { formatCount, formatTable } from "../table.js";
import type { ChaosReport } from "./run-chaos.js";

export function chaosText(report: ChaosReport): string {
  const { seed, jobs, elapsedMs, struck, verdicts, checks } = report;
  const left = { align: "left" } as const;
  const right = { align: "right" } as const;
  const faults = formatTable({
    columns: [
      { title: "fault", ...left },
      { title: "what", ...left },
      { title: "mended after, s", ...right },
      { title: "longest pause, s", ...right },
    ],
    rows: struck.map(({ fault, what, tookMs, pauseMs }) => [fault, what, seconds(tookMs), seconds(pauseMs)]),
  });
  const held = formatTable({
    columns: [
      { title: "clause", ...left },
      { title: "promise", ...left },
      { title: "", ...left },
    ],
    rows: checks.map(({ clause, promise, broken }) => [
      clause,
      promise,
      broken.length > 0 ? "BROKEN" : "held",
    ]),
  });
  const broken = checks.flatMap((check) =>
    check.broken.map((what) => `${check.clause} ${check.promise}: ${what}`),
  );
  return [
    `seed ${seed}: ${formatCount(jobs)} jobs in ${seconds(elapsedMs)} s, ${formatCount(jobs / (elapsedMs / 1_000))} jobs/s`,
    `verdicts: ${formatCount(verdicts.committed)} committed, ${formatCount(verdicts.duplicate)} duplicate, ${formatCount(verdicts.stale)} stale; handlers started: ${formatCount(report.handlersStarted)}; submits made again: ${report.submitsRepeated}`,
    "",
    faults,
    "",
    held,
    "",
    ...broken,
    broken.length > 0 ? `The contract is broken: npm run chaos -- --seed ${seed}` : "The contract held.",
    "",
  ].join("\n");
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
