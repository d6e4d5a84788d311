// `npm run bench -- NAME [flags]`: finds the benchmark in the table below, gives it a stage, and reports.
import { constants } from "node:os";
import { join } from "node:path";
import type { Benchmark, PreparedBenchmark } from "./benchmark.js";
import { drain } from "./drain/drain.js";
import { events } from "./events/events.js";
import { drawProfiles } from "./flame/draw-profiles.js";
import { gates } from "./gates/gates.js";
import { ghz } from "./ghz/ghz.js";
import { GoError } from "./go-programs.js";
import { inbox } from "./latency/inbox.js";
import { latency } from "./latency/latency.js";
import { backlog } from "./life/backlog.js";
import { life } from "./life/life.js";
import { pinned } from "./life/pinned.js";
import { describeMachine } from "./machine.js";
import { describeOptions, UsageError } from "./options.js";
import { probeProcessor } from "./processor-probe.js";
import { type Report, reportText, writeReport } from "./report.js";
import { signals } from "./signals/signals.js";
import { openStage } from "./stage.js";
import { stopPrograms } from "./start-program.js";
import { streams } from "./streams/streams.js";
import { waits } from "./waits/waits.js";

const benchmarks: readonly Benchmark[] = [
  drain,
  life,
  latency,
  inbox,
  events,
  signals,
  streams,
  waits,
  backlog,
  pinned,
  gates,
  ghz,
];

const say = (line: string) => process.stderr.write(`${line}\n`);

function usage(): string {
  const lines = benchmarks.flatMap(({ name, summary, options }) => [
    `  ${name.padEnd(10)}${summary}`,
    ...describeOptions(options),
    "",
  ]);
  return ["Usage: npm run bench -- <benchmark> [flags]", "", ...lines].join("\n");
}

async function run(benchmark: Benchmark, prepared: PreparedBenchmark): Promise<void> {
  const startedAt = new Date().toISOString();
  const base =
    prepared.out?.replace(/\.json$/, "") ??
    join(".holdfast", "bench", `${benchmark.name}-${startedAt.replaceAll(/[:.]/g, "-")}`);
  const profileDir = prepared.isProfiling ? `${base}-profiles` : null;
  const stage = await openStage(profileDir, say);
  try {
    const before = probeProcessor();
    const findings = await prepared.run(stage);
    const processor = { before, after: probeProcessor() };
    const report: Report = {
      benchmark: benchmark.name,
      startedAt,
      options: prepared.options,
      machine: describeMachine(stage.postgres.version, stage.disk, processor),
      postgresSettings: stage.postgres.settings,
      ...findings,
    };
    process.stdout.write(`\n${reportText(report)}`);
    for (const path of await writeReport(report, base)) say(path);
  } finally {
    await stage.close();
  }
  if (profileDir !== null) {
    const drawn = await drawProfiles(profileDir);
    say(`${profileDir}: ${drawn} CPU profiles, a flame graph (.svg) beside each`);
  }
}

async function main(args: readonly string[]): Promise<void> {
  const [name, ...flags] = args;
  if (name === undefined || name === "--help" || name === "help" || flags.includes("--help")) {
    process.stdout.write(`${usage()}\n`);
    return;
  }
  const benchmark = benchmarks.find((known) => known.name === name);
  if (!benchmark) throw new UsageError(`There is no benchmark "${name}".`);
  await run(benchmark, benchmark.prepare(flags));
}

/** What was foreseen is told without a stack. */
function reasonOf(error: unknown): string {
  if (error instanceof UsageError) return `${error.message}\n\n${usage()}`;
  if (error instanceof GoError) return error.message;
  return String((error as Error).stack);
}

let isEnding = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    isEnding = true;
    say(`${signal}: ending`);
    await stopPrograms();
    process.exit(128 + constants.signals[signal]);
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  await stopPrograms();
  // What a signal has cut off fails, and that is no news.
  if (!isEnding) say(reasonOf(error));
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
