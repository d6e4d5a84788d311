import { randomBytes } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { CliError, usageError } from "../cli-error.js";
import { type Connection, connect } from "../connection.js";
import { formatElapsed } from "../elapsed.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import type { Invocation } from "../invocation.js";
import type { ChildMessage } from "../parent.js";
import { composeSbom } from "../scan/compose-sbom.js";
import { findPackages, type PackageTree } from "../scan/find-packages.js";
import { listenForShutdown } from "../shutdown.js";
import { cliVersion } from "../version.js";
import { type Child, startChild } from "./children.js";
import { submitToStart } from "./latency.js";
import { startProgress } from "./progress-bar.js";
import { runScan, type ScanRun } from "./scan-run.js";
import { type StartSummary, summaryJson, summaryText } from "./summary.js";
import { requireFreePorts } from "./who-listens.js";

// The whole house in one command: a hub on its embedded PostgreSQL, workers, and a workload that shows them.
//
//   find packages → hub up → workers up → scan → summary ─┬─ --once ──────────────► stop
//                                                         └─ stay up until Ctrl-C ─► stop
//
// Whatever ends it, by will or by failure, ends in `stop`: workers drained first, then the hub, which stops its
// PostgreSQL.

/** A first start unpacks and initialises a database. */
const HUB_UP_WITHIN_MS = 120_000;
const WORKER_UP_WITHIN_MS = 30_000;
const WORKER_STOP_WITHIN_MS = 35_000;
/** When something failed already there is nothing to drain for. */
const WORKER_STOP_AFTER_FAILURE_MS = 3_000;
const HUB_STOP_WITHIN_MS = 60_000;

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

export async function runStart(
  options: StartOptions,
  { io, output, globals }: Invocation,
): Promise<ExitCode> {
  const tree = await requirePackages(options.directory);
  if (tree.skipped.length > 0) {
    output.remark(`Left out, for they are no packages: ${tree.skipped.join(", ")}`);
  }
  await requireFreePorts(options.grpcListen, options.httpListen);
  const logs = join(options.dataDir, "logs");
  await mkdir(logs, { recursive: true });
  const env = childEnvironment(io.env, globals.apiKey);
  const children: Child[] = [];
  // A second Ctrl-C leaves at once: the children notice, and end by themselves.
  const shutdown = listenForShutdown();
  const asked = shutdown.requested.then((): never => {
    throw shutdown.signal.reason;
  });
  asked.catch(() => {});

  try {
    output.remark(`Starting PostgreSQL and a hub in ${options.dataDir} …`);
    const hub = await up(run("hub", hubArgs(options)), HUB_UP_WITHIN_MS);
    if (hub.type !== "listening") {
      throw new TypeError(`A hub that is up says where it listens, not "${hub.type}".`);
    }
    const workers = Array.from({ length: options.workers }, (_, index) => `scan-${index + 1}`);
    await Promise.all(
      workers
        .map((name) => run(name, workerArgs(name, hub.grpcAddress, options)))
        .map((child) => up(child, WORKER_UP_WITHIN_MS)),
    );
    const hubUrl = `http://${hub.httpAddress}`;
    output.remark(
      `Hub at ${hub.grpcAddress} (gRPC) and ${hubUrl}; ${workers.length} workers attached. Logs are in ${logs}.`,
    );
    const summary = await untilEnd(
      scan(tree, connect({ hubUrl, apiKey: globals.apiKey }), hub.grpcAddress, options),
    );
    output.document(summaryJson(summary), () => summaryText(summary, output.paint));
    if (!options.once) {
      output.remark(
        "\nHub and workers stay up. Ctrl-C drains the workers, then stops the hub and PostgreSQL.",
      );
      await untilEnd(shutdown.requested).catch(rethrowUnless(() => shutdown.signal.aborted));
    }
    await stop(children, WORKER_STOP_WITHIN_MS);
    return EXIT.ok;
  } catch (error) {
    await stop(children, shutdown.signal.aborted ? WORKER_STOP_WITHIN_MS : WORKER_STOP_AFTER_FAILURE_MS);
    throw shutdown.signal.aborted ? shutdown.signal.reason : error;
  } finally {
    shutdown.dispose();
  }

  function run(name: string, args: readonly string[]): Child {
    const child = startChild({ name, args, env, logFile: join(logs, `${name}.log`) });
    children.push(child);
    return child;
  }

  /** Waits for work, but no longer than all children live and nobody asks to stop. */
  function untilEnd<Result>(work: Promise<Result>): Promise<Result> {
    return Promise.race([work, asked, ...children.map((child) => child.failure)]);
  }

  async function up(child: Child, withinMs: number): Promise<ChildMessage> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(lateError(child, withinMs, logs)), withinMs);
    });
    return untilEnd(Promise.race([child.up, late])).finally(() => clearTimeout(timer));
  }

  async function scan(
    tree: PackageTree,
    connection: Connection,
    grpcAddress: string,
    { out, dataDir }: StartOptions,
  ): Promise<StartSummary> {
    const runId = `scan-${randomBytes(4).toString("hex")}`;
    const progress = startProgress("scanned", tree.packages.length, io, output);
    let result: ScanRun;
    try {
      result = await runScan({
        connection,
        tree,
        runId,
        signal: shutdown.signal,
        onProgress: (jobsDone) => progress.advance(jobsDone),
      });
    } finally {
      progress.end();
    }
    const { jobs, elapsedMs, scanned } = result;
    const sbom = composeSbom({ tree, scanned, toolVersion: cliVersion(), at: new Date(io.nowMs()) });
    const sbomFile = out ?? join(dataDir, "sbom.cdx.json");
    await writeWhole(sbomFile, sbom.text);
    return {
      hubUrl: connection.hubUrl,
      grpcAddress,
      runId,
      root: tree.root,
      jobs: jobs.length,
      elapsedMs,
      latency: submitToStart(jobs),
      sbomFile,
      components: sbom.components,
      exampleJobId: jobs[0]?.id ?? "",
      examplePath: tree.packages[0]?.path ?? "",
    };
  }
}

async function requirePackages(directory: string): Promise<PackageTree> {
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

/** `start` serves this machine only and without TLS, whatever a hub run by hand is configured to do. */
function childEnvironment(env: Invocation["io"]["env"], apiKey: string | undefined): Invocation["io"]["env"] {
  const { HOLDFAST_TLS_CERT: _cert, HOLDFAST_TLS_KEY: _key, ...rest } = env;
  return apiKey === undefined ? rest : { ...rest, HOLDFAST_API_KEY: apiKey };
}

function hubArgs({ dataDir, grpcListen, httpListen }: StartOptions): readonly string[] {
  return ["hub", "--data-dir", dataDir, "--grpc-listen", grpcListen, "--http-listen", httpListen];
}

function workerArgs(
  name: string,
  address: string,
  { dataDir, concurrency }: StartOptions,
): readonly string[] {
  const limit = concurrency === undefined ? [] : ["--concurrency", String(concurrency)];
  const journal = join(dataDir, "workers", name);
  return ["worker", "scan", "--name", name, "--address", address, "--journal", journal, ...limit];
}

function lateError(child: Child, withinMs: number, logs: string): CliError {
  return new CliError(`${child.name} was not up within ${formatElapsed(withinMs)}.`, {
    exitCode: EXIT.childFailed,
    reason: "CHILD_FAILED",
    next: `Its log: ${join(logs, `${child.name}.log`)}`,
  });
}

async function stop([hub, ...workers]: readonly Child[], workersWithinMs: number): Promise<void> {
  await Promise.all(workers.map((worker) => worker.stop(workersWithinMs)));
  await hub?.stop(HUB_STOP_WITHIN_MS);
}

function rethrowUnless(isExpected: () => boolean): (error: unknown) => void {
  return (error) => {
    if (!isExpected()) {
      throw error;
    }
  };
}

/** A reader never sees half of the file, nor does a run that fails spoil the one before. */
async function writeWhole(file: string, text: string): Promise<void> {
  await mkdir(dirname(resolve(file)), { recursive: true });
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}
