// The hub's calls under the load of ghz, a generator that is not ours. For each scenario: more and more calls at once,
// until no more go through, which gives peak and saturation point; then half the peak as an open load, which gives
// latencies that are worth something. Then the same once more with the messages from proto/ instead of reflection.
import { join } from "node:path";
import { defineBenchmark } from "../benchmark.js";
import { ensureGhz, repositoryRoot } from "../go-programs.js";
import { UsageError } from "../options.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { Stage } from "../stage.js";
import { spreadOf } from "../statistics.js";
import { formatCount, formatMs, type Table } from "../table.js";
import { countErrors, type GhzRun } from "./ghz-report.js";
import { type GhzOrder, type ProtoFile, runGhz } from "./run-ghz.js";
import { concurrencies, isSaturated, type Saturation, type Step, saturationOf } from "./saturation.js";
import { noStock, type Stock, stockOfLeases, stockOfOneJob, stockOfReadyJobs } from "./stock.js";

interface Scenario {
  readonly name: string;
  readonly proto: ProtoFile;
  /** What its calls need, made anew for each run; `callsMax` of it where each call uses some up. */
  readonly stock: (httpAddress: string, callsMax: number) => Promise<Stock>;
  readonly usesUp: boolean;
}

const ours = join(repositoryRoot, "proto");
const jobProto = { root: ours, path: join("holdfast", "v1", "job_service.proto") };
const workerProto = { root: ours, path: join("holdfast", "v1", "worker_service.proto") };
const healthProto = {
  root: join(repositoryRoot, "node_modules", "grpc-health-check", "proto"),
  path: join("health", "v1", "health.proto"),
};

const scenarios: readonly Scenario[] = [
  { name: "health", proto: healthProto, stock: async () => noStock, usesUp: false },
  { name: "submit", proto: jobProto, stock: async () => noStock, usesUp: false },
  { name: "submit-batch", proto: jobProto, stock: async () => noStock, usesUp: false },
  { name: "get", proto: jobProto, stock: stockOfOneJob, usesUp: false },
  { name: "claim", proto: workerProto, stock: stockOfReadyJobs, usesUp: true },
  { name: "report", proto: workerProto, stock: stockOfLeases, usesUp: true },
  { name: "attach", proto: workerProto, stock: async () => noStock, usesUp: false },
];

interface Loaded {
  readonly scenario: string;
  readonly round: number;
  readonly steps: readonly Step[];
  readonly saturation: Saturation;
  readonly halfPeak: { readonly reflection: GhzRun; readonly proto: GhzRun };
  /** In all runs. */
  readonly errors: number;
}

const upWithinMs = 60_000;
const names = scenarios.map(({ name }) => name).join(", ");

export const ghz = defineBenchmark({
  name: "ghz",
  summary: "single calls under the load of ghz: peak, saturation point, latency at half the peak",
  options: {
    step: { unit: "seconds", default: 3, range: [1, 600], help: "of each step of the search" },
    seconds: { unit: "seconds", default: 10, range: [1, 600], help: "at half the peak" },
    calls: {
      unit: "count",
      default: 200_000,
      range: [100, 10_000_000],
      help: "of each run at most, whatever its time",
    },
    stock: {
      unit: "count",
      default: 20_000,
      range: [100, 1_000_000],
      help: "jobs made for each run whose calls use them up (claim, report), so also calls at most",
    },
    rounds: { unit: "count", default: 1, range: [1, 100], help: "times that each scenario runs" },
    only: { unit: "text", default: null, help: `scenarios, separated by commas: ${names}` },
  },
  check: ({ only }) => void chosen(only),
  run: async (stage, options) => {
    await ensureGhz(stage.log);
    const loads: Loaded[] = [];
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const scenario of chosen(options.only)) {
        const loaded = await loadScenario(stage, scenario, round, options);
        const { peakPerSecond, concurrency } = loaded.saturation;
        stage.log(
          `round ${round} of ${options.rounds}, ${scenario.name}: ${formatCount(peakPerSecond)} calls/s from ${concurrency} at once, ${formatMs(loaded.halfPeak.reflection.p99Ms)} p99 at half of that`,
        );
        loads.push(loaded);
      }
    }
    return {
      table: ghzTable(loads),
      notes: [
        `Peak: the best of steps of ${options.step} s with 1, 2, 4 … ${concurrencies.at(-1)} calls at once, each followed by the next, until two steps added less than 5 %. Saturation: the fewest at once that reach 0.9 of it.`,
        `Latency: ${options.seconds} s of an open load at half the peak, sent whether or not earlier calls were answered.`,
        "A call of health asks and changes nothing: what it takes, gRPC itself takes. One of submit-batch has 100 jobs, one of claim takes a job, one of report ends one; one of attach is a whole stream: hello, credit, three heartbeats, end.",
        "ghz, hub and PostgreSQL share the machine. Errors are of all runs.",
      ],
      measured: { loads },
    };
  },
});

/** @throws UsageError */
function chosen(only: string | null): readonly Scenario[] {
  if (only === null) return scenarios;
  return only.split(",").map((name) => {
    const scenario = scenarios.find((known) => known.name === name);
    if (scenario) return scenario;
    throw new UsageError(`--only: no scenario "${name}"; there are ${names}.`);
  });
}

interface Bounds {
  readonly step: number;
  readonly seconds: number;
  readonly calls: number;
  readonly stock: number;
}

async function loadScenario(
  stage: Stage,
  scenario: Scenario,
  round: number,
  bounds: Bounds,
): Promise<Loaded> {
  const database = `ghz_${scenario.name}_${round}`;
  const databaseUrl = await stage.postgres.createDatabase(database);
  const hub = stage.start<HubParams, HubSays>("hub", { databaseUrl }, database);
  try {
    const { grpcAddress: address, httpAddress } = await hub.said("up", upWithinMs);
    const callsMax = scenario.usesUp ? Math.min(bounds.stock, bounds.calls) : bounds.calls;
    let errors = 0;
    const load = async (order: Pick<GhzOrder, "proto" | "load" | "seconds">) => {
      const stock = await scenario.stock(httpAddress, callsMax);
      const fixed = { scenario: scenario.name, address, callsMax, stock, scratchDir: stage.scratchDir };
      const run = await runGhz({ ...fixed, ...order });
      errors += countErrors(run);
      return run;
    };
    const steps: Step[] = [];
    for (const concurrency of concurrencies) {
      const run = await load({
        proto: null,
        load: { type: "closed", concurrency },
        seconds: bounds.step,
      });
      steps.push({ concurrency, callsPerSecond: run.callsPerSecond });
      if (isSaturated(steps)) break;
    }
    const saturation = saturationOf(steps);
    const callsPerSecond = Math.max(1, Math.floor(saturation.peakPerSecond / 2));
    const half = { load: { type: "open", callsPerSecond }, seconds: bounds.seconds } as const;
    const halfPeak = {
      reflection: await load({ proto: null, ...half }),
      proto: await load({ proto: scenario.proto, ...half }),
    };
    return { scenario: scenario.name, round, steps, saturation, halfPeak, errors };
  } finally {
    await hub.stop();
    await stage.postgres.dropDatabase(database);
  }
}

function ghzTable(loads: readonly Loaded[]): Table {
  const right = "right" as const;
  const medianOf = (values: readonly number[]) => spreadOf(values).median;
  return {
    columns: [
      { title: "scenario", align: "left" },
      { title: "messages from", align: "left" },
      { title: "peak calls/s", align: right },
      { title: "saturated at", align: right },
      { title: "calls/s sent", align: right },
      { title: "p50", align: right },
      { title: "p95", align: right },
      { title: "p99", align: right },
      { title: "p99 min – max", align: right },
      { title: "errors", align: right },
    ],
    rows: [...new Set(loads.map(({ scenario }) => scenario))].flatMap((name) => {
      const own = loads.filter(({ scenario }) => scenario === name);
      return (["reflection", "proto"] as const).map((source) => {
        const runs = own.map(({ halfPeak }) => halfPeak[source]);
        const p99 = spreadOf(runs.map(({ p99Ms }) => p99Ms));
        return [
          name,
          source,
          formatCount(medianOf(own.map(({ saturation }) => saturation.peakPerSecond))),
          formatCount(medianOf(own.map(({ saturation }) => saturation.concurrency))),
          formatCount(medianOf(runs.map(({ callsPerSecond }) => callsPerSecond))),
          formatMs(medianOf(runs.map(({ p50Ms }) => p50Ms))),
          formatMs(medianOf(runs.map(({ p95Ms }) => p95Ms))),
          formatMs(p99.median),
          `${formatMs(p99.min)} – ${formatMs(p99.max)}`,
          formatCount(
            source === "reflection"
              ? own.reduce((sum, { errors }) => sum + errors, 0)
              : runs.reduce((sum, run) => sum + countErrors(run), 0),
          ),
        ];
      });
    }),
  };
}
