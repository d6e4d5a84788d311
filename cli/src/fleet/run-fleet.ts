import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { connect } from "../connection.js";
import { formatLatency } from "../elapsed.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { firstAbort } from "../first-abort.js";
import type { Invocation } from "../invocation.js";
import type { PackageTree } from "../scan/find-packages.js";
import { listenForShutdown, type Shutdown } from "../shutdown.js";
import { type House, type HubPlace, startHouse } from "../start/house.js";
import { startProgress } from "../start/progress-bar.js";
import { childEnvironment, requirePackages } from "../start/run-start.js";
import { requireFreePorts } from "../who-listens.js";
import { fleetJson, fleetText } from "./fleet-text.js";
import { requireServersCount } from "./run-nats.js";
import { runScanBatch } from "./scan-batch.js";

// A fleet on one machine:
//
//   find packages → house up → scans, rolled in their midst with --roll ─┬─ --once ──────────────► house down
//                                                                        └─ "r" rolls, Ctrl-C ──► house down

export interface FleetOptions {
  readonly directory: string;
  readonly hubs: number;
  readonly natsServers: number;
  readonly workers: number;
  readonly concurrency: number | undefined;
  readonly scans: number | undefined;
  readonly roll: boolean;
  readonly once: boolean;
  readonly dataDir: string;
  /** Of the first hub. */
  readonly grpcListen: string;
  readonly httpListen: string;
}

/** From the ports of one hub to those of the next: the defaults of both lie side by side. */
const PORTS_PER_HUB = 2;

export async function runFleet(options: FleetOptions, invocation: Invocation): Promise<ExitCode> {
  const { io, output, globals } = invocation;
  requireServersCount(options.natsServers);
  const tree = await requirePackages(options.directory);
  const hubs = placesOf(options);
  for (const { grpcListen, httpListen } of hubs) {
    await requireFreePorts(grpcListen, httpListen);
  }
  const shutdown = listenForShutdown();
  try {
    output.remark(`Starting NATS, PostgreSQL and ${options.hubs} hubs in ${options.dataDir} …`);
    const env = childEnvironment(io.env, globals.apiKey);
    const house = await startHouse({ ...options, hubs, env, signal: shutdown.signal });
    await liveIn(house, tree, options, invocation, shutdown);
    output.item({ event: "stopped" });
    return EXIT.ok;
  } catch (error) {
    throw shutdown.signal.aborted ? shutdown.signal.reason : error;
  } finally {
    shutdown.dispose();
  }
}

function placesOf({ hubs, grpcListen, httpListen }: FleetOptions): HubPlace[] {
  return Array.from({ length: hubs }, (_, at) => ({
    name: `hub-${at + 1}`,
    grpcListen: portAbove(grpcListen, at * PORTS_PER_HUB),
    httpListen: portAbove(httpListen, at * PORTS_PER_HUB),
  }));
}

/** With port 0, any free one, it stays 0. */
function portAbove(address: string, above: number): string {
  const colon = address.lastIndexOf(":");
  const port = Number(address.slice(colon + 1));
  return `${address.slice(0, colon)}:${port === 0 ? 0 : port + above}`;
}

async function liveIn(
  house: House,
  tree: PackageTree,
  options: FleetOptions,
  invocation: Invocation,
  shutdown: Shutdown,
): Promise<void> {
  const { io, output } = invocation;
  output.item(fleetJson(house, options.workers));
  output.line(fleetText(house, options.workers, output.paint));
  const failed = new AbortController();
  let isDone = false;
  try {
    const signal = firstAbort(shutdown.signal, failed.signal);
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const scanning = scan(house, tree, options, invocation, { signal, onProgress: begin });
    const rolling = options.roll ? begun.then(() => rollAll(house, invocation, signal)) : undefined;
    await Promise.race([Promise.all([scanning, rolling]), house.failure]);
    if (!options.once) {
      output.remark(
        "\nAll stays up. r and Enter rolls the hubs, Ctrl-C stops workers, hubs, PostgreSQL and NATS.",
      );
      const keys = createInterface({ input: io.stdin });
      try {
        await Promise.race([
          shutdown.requested,
          house.failure,
          rollOnDemand(keys, house, invocation, signal),
        ]);
      } finally {
        keys.close();
      }
    }
    isDone = true;
  } finally {
    failed.abort();
    await house.stop(isDone || shutdown.signal.aborted ? "asked" : "failed");
  }
}

/** Rejects when a roll fails, and never resolves: the end of the input is no wish to stop. */
async function rollOnDemand(
  lines: AsyncIterable<string>,
  house: House,
  invocation: Invocation,
  signal: AbortSignal,
): Promise<never> {
  for await (const line of lines) {
    if (line.trim() === "r" && !signal.aborted) await rollAll(house, invocation, signal);
  }
  return new Promise(() => undefined);
}

/** One by one: a hub leaves only when the one before it is back. */
async function rollAll(house: House, { output }: Invocation, signal: AbortSignal): Promise<void> {
  for (const hub of house.hubs) {
    if (signal.aborted) return;
    const startedAtMs = performance.now();
    await house.roll(hub);
    const elapsedMs = Math.round(performance.now() - startedAtMs);
    output.item({ event: "rolled", hub: hub.name, elapsedMs });
    output.line(`rolled ${hub.name} in ${formatLatency(elapsedMs)}`);
  }
}

async function scan(
  house: House,
  tree: PackageTree,
  options: FleetOptions,
  { io, output, globals }: Invocation,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: () => void },
): Promise<void> {
  const scansCount = options.scans ?? tree.packages.length;
  const progress = startProgress("scanned", scansCount, io, output);
  const elapsedMs = await runScanBatch({
    connection: connect({ hubUrl: house.hubs[0].hubUrl, apiKey: globals.apiKey }),
    tree,
    label: `scan-${randomBytes(4).toString("hex")}`,
    scansCount,
    signal,
    onProgress: (done) => {
      progress.advance(done);
      onProgress();
    },
  }).finally(progress.end);
  const jobsPerSecond = Math.round(scansCount / (elapsedMs / 1_000));
  output.item({ event: "scanned", jobs: scansCount, elapsedMs: Math.round(elapsedMs), jobsPerSecond });
  output.line(`scanned ${scansCount} packages in ${formatLatency(elapsedMs)}, ${jobsPerSecond} jobs/s`);
}
