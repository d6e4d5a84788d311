import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { usageError } from "../cli-error.js";
import { connect } from "../connection.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { firstAbort } from "../first-abort.js";
import type { Invocation } from "../invocation.js";
import { findPackages, type PackageTree } from "../scan/find-packages.js";
import { listenForShutdown } from "../shutdown.js";
import { requireFreePorts } from "../who-listens.js";
import { type House, startHouse } from "./house.js";
import { submitToStart } from "./latency.js";
import { startProgress } from "./progress-bar.js";
import { runScan } from "./scan-run.js";
import { type StartSummary, summaryJson, summaryText } from "./summary.js";

// The whole of Holdfast in one command:
//
//   find packages → house up → run of scans → summary ─┬─ --once ────────────────────► house down
//                                                      └─ stay up until Ctrl-C ──────► house down
//
// Whatever ends it, by will or by failure, the house goes down with it.

export interface StartOptions {
  readonly directory: string;
  readonly once: boolean;
  readonly workers: number;
  readonly concurrency: number | undefined;
  readonly out: string | undefined;
  readonly dataDir: string;
  readonly grpcListen: string;
  readonly httpListen: string;
}

export async function runStart(options: StartOptions, invocation: Invocation): Promise<ExitCode> {
  const { io, output, globals } = invocation;
  const tree = await requirePackages(options.directory);
  if (tree.skipped.length > 0) {
    output.remark(`Left out, for they are no packages: ${tree.skipped.join(", ")}`);
  }
  await requireFreePorts(options.grpcListen, options.httpListen);

  // A second Ctrl-C leaves at once: the children notice, and end by themselves.
  const shutdown = listenForShutdown();
  try {
    output.remark(`Starting PostgreSQL and a hub in ${options.dataDir} …`);
    const env = childEnvironment(io.env, globals.apiKey);
    const { grpcListen, httpListen } = options;
    const hubs = [{ name: "hub", grpcListen, httpListen }];
    const sbomFile = resolve(sbomFileOf(options));
    const house = await startHouse({
      ...options,
      sbomFile,
      hubs,
      natsServers: 0,
      env,
      signal: shutdown.signal,
    });
    await liveIn(house, tree, options, invocation, shutdown);
    return EXIT.ok;
  } catch (error) {
    throw shutdown.signal.aborted ? shutdown.signal.reason : error;
  } finally {
    shutdown.dispose();
  }
}

async function liveIn(
  house: House,
  tree: PackageTree,
  options: StartOptions,
  invocation: Invocation,
  shutdown: { readonly signal: AbortSignal; readonly requested: Promise<void> },
): Promise<void> {
  const { output } = invocation;
  const { hubs, logs } = house;
  const { hubUrl, grpcAddress } = hubs[0];
  output.remark(
    `Hub at ${grpcAddress} (gRPC) and ${hubUrl}, ${options.workers} workers attached. Logs are in ${logs}.`,
  );
  // A house that fails ends the scan: nothing is left that waits for it.
  const failed = new AbortController();
  let isDone = false;
  try {
    const signal = firstAbort(shutdown.signal, failed.signal);
    const summary = await Promise.race([scan(house, tree, options, invocation, signal), house.failure]);
    output.document(summaryJson(summary), () => summaryText(summary, output.paint));
    if (!options.once) {
      output.remark("\nAll stays up. Ctrl-C drains the workers, then stops the hub and PostgreSQL.");
      await Promise.race([shutdown.requested, house.failure]);
    }
    isDone = true;
  } finally {
    failed.abort();
    await house.stop(isDone || shutdown.signal.aborted ? "asked" : "failed");
  }
}

async function scan(
  { hubs }: House,
  tree: PackageTree,
  options: StartOptions,
  { io, output, globals }: Invocation,
  signal: AbortSignal,
): Promise<StartSummary> {
  const { hubUrl, grpcAddress } = hubs[0];
  const progress = startProgress("scanned", tree.packages.length, io, output);
  const { runId, scans, elapsedMs, sbom } = await runScan({
    connection: connect({ hubUrl, apiKey: globals.apiKey }),
    tree,
    label: `scan-${randomBytes(4).toString("hex")}`,
    signal,
    onProgress: progress.advance,
  }).finally(progress.end);
  const example = tree.packages.find(({ path }) => path.startsWith("node_modules/")) ?? tree.packages[0];
  return {
    staysUp: !options.once,
    hubUrl,
    grpcAddress,
    runId,
    root: tree.root,
    jobs: scans.length,
    elapsedMs,
    latency: submitToStart(scans),
    sbomFile: sbomFileOf(options),
    components: sbom.components,
    exampleJobId: scans[0]?.jobId ?? "",
    examplePath: example?.path ?? "",
  };
}

export async function requirePackages(directory: string): Promise<PackageTree> {
  const tree = await findPackages(directory).catch((error: Error) => {
    throw usageError(`${directory} cannot be scanned: ${error.message}.`, "Name a directory.");
  });
  if (tree.packages.length === 0) {
    throw usageError(
      `There are no installed packages in ${tree.root}.`,
      "Run `npm ci` there first, or name another directory: holdfast start DIR.",
    );
  }
  return tree;
}

/** `start` and `fleet up` serve this machine only and without TLS, whatever a hub run by hand is configured to do. */
export function childEnvironment(
  env: Invocation["io"]["env"],
  apiKey: string | undefined,
): Invocation["io"]["env"] {
  const { HOLDFAST_TLS_CERT: _cert, HOLDFAST_TLS_KEY: _key, ...rest } = env;
  return apiKey ? { ...rest, HOLDFAST_API_KEY: apiKey } : rest;
}

function sbomFileOf({ out, dataDir }: StartOptions): string {
  return out ?? join(dataDir, "sbom.cdx.json");
}
