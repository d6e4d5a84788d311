// `npm run chaos`: hubs, workers, jobs, and everything that can go wrong, one after the other; then the durability
// contract is held against the ledger.
import { randomInt } from "node:crypto";
import { constants } from "node:os";
import { describeOptions, parseOptions, UsageError } from "../options.js";
import { stopPrograms } from "../start-program.js";
import { chaosText } from "./chaos-text.js";
import { type Fault, faults } from "./faults.js";
import { runChaos } from "./run-chaos.js";
import { openWorld, type World } from "./world.js";

const options = {
  seed: {
    unit: "count",
    default: randomInt(2 ** 31),
    range: [0, 2 ** 31],
    help: "which hubs and servers are hit",
  },
  jobs: { unit: "count", default: 100_000, range: [1_000, 10_000_000], help: "jobs in all" },
  faults: {
    unit: "text",
    default: null,
    help: `what goes wrong, with commas: ${faults.map(({ name }) => name).join(", ")} (default all but nats-down)`,
  },
  hubs: { unit: "count", default: 3, range: [2, 16], help: "hub processes" },
  "nats-servers": {
    unit: "count",
    default: 3,
    range: [0, 5],
    help: "servers of the NATS cluster: 0, 1, 3 or 5",
  },
  sessions: { unit: "count", default: 60, range: [1, 10_000], help: "worker sessions" },
  "worker-processes": { unit: "count", default: 6, range: [1, 64], help: "processes that they run in" },
  "session-ttl-ms": {
    unit: "count",
    default: 6_000,
    range: [1_500, 60_000],
    help: "life of a session without a heartbeat",
  },
  json: { unit: "switch", help: "the report as JSON" },
} as const;

const say = (line: string) => process.stderr.write(`${line}\n`);

function faultsOf(given: string | null, hasNats: boolean): readonly Fault[] {
  const names = given?.split(",").map((name) => name.trim());
  const unknown = names?.find((name) => faults.every((fault) => fault.name !== name));
  if (unknown !== undefined) throw new UsageError(`There is no fault "${unknown}".`);
  return faults.filter(
    ({ name, needsNats, isLong }) => (hasNats || !needsNats) && (names?.includes(name) ?? !isLong),
  );
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes("--help")) {
    process.stdout.write(["Usage: npm run chaos -- [flags]", "", ...describeOptions(options), ""].join("\n"));
    return;
  }
  const { values } = parseOptions(options, {}, args);
  const struck = faultsOf(values.faults, values["nats-servers"] > 0);
  say(`seed ${values.seed}; ${values.jobs} jobs; faults: ${struck.map(({ name }) => name).join(", ")}`);
  world = await openWorld(
    {
      hubs: values.hubs,
      natsServers: values["nats-servers"],
      sessions: values.sessions,
      workerProcesses: values["worker-processes"],
      sessionTtlMs: values["session-ttl-ms"],
    },
    () => undefined,
  );
  const report = await runChaos(world, { seed: values.seed, jobs: values.jobs, faults: struck }, say);
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : `\n${chaosText(report)}`);
  if (report.checks.some(({ broken }) => broken.length > 0)) process.exitCode = 1;
}

let world: World | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    say(`${signal}: ending`);
    await stopPrograms();
    await world?.close();
    process.exit(128 + constants.signals[signal]);
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof UsageError ? error.message : String((error as Error).stack));
  process.exitCode = error instanceof UsageError ? 2 : 1;
} finally {
  await world?.close();
}
