import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CliError } from "../cli-error.js";
import { formatElapsed } from "../elapsed.js";
import { EXIT } from "../exit-codes.js";
import type { Io } from "../io.js";
import type { ChildMessage } from "../parent.js";
import { type Child, startChild } from "./children.js";

// A hub on its embedded PostgreSQL and its workers, as child processes. They start in this order and stop in the
// reverse: workers drain first, then the hub stops, and with it its PostgreSQL.

/** A first start unpacks and initialises a database. */
const HUB_UP_WITHIN_MS = 120_000;
const WORKER_UP_WITHIN_MS = 30_000;
/** A little more than a worker gives its handlers. */
const WORKER_STOP_WITHIN_MS = 35_000;
/** When something failed already there is nothing to drain for. */
const WORKER_STOP_AFTER_FAILURE_MS = 3_000;
const HUB_STOP_WITHIN_MS = 60_000;

export interface HouseOptions {
  readonly workers: number;
  readonly concurrency: number | undefined;
  readonly dataDir: string;
  readonly grpcListen: string;
  readonly httpListen: string;
  readonly env: Io["env"];
  /** Ends the start; a house that is up is ended by `stop`. */
  readonly signal: AbortSignal;
}

export interface House {
  readonly grpcAddress: string;
  readonly hubUrl: string;
  readonly logs: string;
  /** Rejects when a child ends by itself. */
  readonly failure: Promise<never>;
  stop(why: "asked" | "failed"): Promise<void>;
}

/** Resolves once the hub listens and every worker holds its stream; when that fails, no child is left. */
export async function startHouse(options: HouseOptions): Promise<House> {
  const logs = join(options.dataDir, "logs");
  await mkdir(logs, { recursive: true });
  const children: Child[] = [];
  const run = (name: string, args: readonly string[]): Child => {
    const child = startChild({ name, args, env: options.env, logFile: join(logs, `${name}.log`) });
    children.push(child);
    return child;
  };
  const untilUp = (child: Child, withinMs: number): Promise<ChildMessage> => {
    const late = lateness(child, withinMs, join(logs, `${child.name}.log`));
    const failures = children.map(({ failure }) => failure);
    return Promise.race([child.up, late.failure, aborted(options.signal), ...failures]).finally(late.cancel);
  };

  try {
    const hub = await untilUp(run("hub", hubArgs(options)), HUB_UP_WITHIN_MS);
    if (hub.type !== "listening") {
      throw new TypeError(`A hub that is up says where it listens, not "${hub.type}".`);
    }
    const names = Array.from({ length: options.workers }, (_, index) => `scan-${index + 1}`);
    const workers = names.map((name) => run(name, workerArgs(name, hub.grpcAddress, options)));
    await Promise.all(workers.map((worker) => untilUp(worker, WORKER_UP_WITHIN_MS)));
    const failure = Promise.race(children.map((child) => child.failure));
    // It may come while nobody waits for it; whoever waits next is told.
    failure.catch(() => {});
    return {
      grpcAddress: hub.grpcAddress,
      hubUrl: `http://${hub.httpAddress}`,
      logs,
      failure,
      stop: (why) => stopAll(children, why),
    };
  } catch (error) {
    await stopAll(children, "failed");
    throw error;
  }
}

async function stopAll([hub, ...workers]: readonly Child[], why: "asked" | "failed"): Promise<void> {
  const withinMs = why === "asked" ? WORKER_STOP_WITHIN_MS : WORKER_STOP_AFTER_FAILURE_MS;
  await Promise.all(workers.map((worker) => worker.stop(withinMs)));
  await hub?.stop(HUB_STOP_WITHIN_MS);
}

function hubArgs({ dataDir, grpcListen, httpListen }: HouseOptions): readonly string[] {
  return ["hub", "--data-dir", dataDir, "--grpc-listen", grpcListen, "--http-listen", httpListen];
}

function workerArgs(name: string, address: string, options: HouseOptions): readonly string[] {
  const { dataDir, concurrency } = options;
  const limit = concurrency === undefined ? [] : ["--concurrency", String(concurrency)];
  const journal = join(dataDir, "workers", name);
  return ["worker", "scan", "--name", name, "--address", address, "--journal", journal, ...limit];
}

/** Rejects after the time that a child has to come up, unless it is cancelled before. */
function lateness(
  child: Child,
  withinMs: number,
  logFile: string,
): { failure: Promise<never>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const failure = new Promise<never>((_, reject) => {
    const error = new CliError(`${child.name} was not up within ${formatElapsed(withinMs)}.`, {
      exitCode: EXIT.childFailed,
      reason: "CHILD_FAILED",
      next: `Its log: ${logFile}`,
    });
    timer = setTimeout(() => reject(error), withinMs);
  });
  return { failure, cancel: () => clearTimeout(timer) };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.throwIfAborted();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
