import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CliError } from "../cli-error.js";
import { formatElapsed } from "../elapsed.js";
import { EXIT } from "../exit-codes.js";
import type { Io } from "../io.js";
import type { ChildMessage } from "../parent.js";
import { type Child, cannotOpen, startChild } from "./children.js";

// Hubs on one embedded PostgreSQL, their workers, and NATS if there is a fleet, as child processes. They start in the
// order NATS, hubs, workers and stop in the reverse: workers drain first, then the hubs stop, the last of them with
// PostgreSQL, then NATS.

/** A first start may have to fetch a nats-server. */
const NATS_UP_WITHIN_MS = 600_000;
/** A first start unpacks and initialises a database. */
const HUB_UP_WITHIN_MS = 120_000;
const WORKER_UP_WITHIN_MS = 30_000;
/** A little more than a worker gives its handlers. */
const WORKER_STOP_WITHIN_MS = 35_000;
/** When something failed already there is nothing to drain for. */
const WORKER_STOP_AFTER_FAILURE_MS = 3_000;
const HUB_STOP_WITHIN_MS = 60_000;
const NATS_STOP_WITHIN_MS = 30_000;

export interface HouseOptions {
  readonly hubs: readonly HubPlace[];
  /** Servers of the NATS cluster; 0 for none. */
  readonly natsServers: number;
  readonly workers: number;
  readonly concurrency: number | undefined;
  readonly dataDir: string;
  /** Where workers write bills of materials; none by default. */
  readonly sbomFile?: string;
  readonly env: Io["env"];
  /** Ends the start; a house that is up is ended by `stop`. */
  readonly signal: AbortSignal;
}

/** A hub's name, which its log has too, and where it listens; with port 0 wherever it is free. */
export interface HubPlace {
  readonly name: string;
  readonly grpcListen: string;
  readonly httpListen: string;
}

export interface RunningHub {
  readonly name: string;
  readonly grpcAddress: string;
  readonly hubUrl: string;
}

export interface House {
  readonly hubs: readonly [RunningHub, ...RunningHub[]];
  /** Undefined without NATS. */
  readonly natsUrl: string | undefined;
  readonly logs: string;
  /** Rejects when a child ends by itself. */
  readonly failure: Promise<never>;
  /** Stops a hub in order and starts it again where it was; resolves once it listens. */
  roll(hub: RunningHub): Promise<void>;
  stop(why: "asked" | "failed"): Promise<void>;
}

/** Resolves once every hub listens and every worker holds its stream; when that fails, no child is left. */
export async function startHouse(options: HouseOptions): Promise<House> {
  const logs = join(options.dataDir, "logs");
  await mkdir(logs, { recursive: true }).catch((cause: Error) => {
    throw cannotOpen("The data directory cannot be used", cause);
  });
  const children = { nats: [] as Child[], hubs: new Map<string, Child>(), workers: [] as Child[] };
  let fail: (error: unknown) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // It may come while nobody waits for it; whoever waits next is told.
  failure.catch(() => {});
  const run = (name: string, args: readonly string[], env: Io["env"]): Child => {
    const child = startChild({ name, args, env, logFile: join(logs, `${name}.log`) });
    child.failure.catch(fail);
    return child;
  };
  const untilUp = (child: Child, withinMs: number): Promise<ChildMessage> => {
    const late = lateness(child, withinMs, join(logs, `${child.name}.log`));
    return Promise.race([child.up, late.failure, aborted(options.signal), failure]).finally(late.cancel);
  };
  let isStopping = false;
  let rolling: Promise<unknown> = Promise.resolve();
  const stop = async (why: "asked" | "failed") => {
    isStopping = true;
    const withinMs = why === "asked" ? WORKER_STOP_WITHIN_MS : WORKER_STOP_AFTER_FAILURE_MS;
    await Promise.all(children.workers.map((worker) => worker.stop(withinMs)));
    // It may have a hub to start yet, which would be left behind.
    await rolling.catch(() => undefined);
    await Promise.all([...children.hubs.values()].map((hub) => hub.stop(HUB_STOP_WITHIN_MS)));
    await Promise.all(children.nats.map((nats) => nats.stop(NATS_STOP_WITHIN_MS)));
  };

  const startNats = async (): Promise<string | undefined> => {
    if (options.natsServers === 0) return undefined;
    const args = ["fleet", "nats", "--servers", String(options.natsServers)];
    const nats = run("nats", [...args, "--folder", join(options.dataDir, "nats")], options.env);
    children.nats.push(nats);
    return expectWord(await untilUp(nats, NATS_UP_WITHIN_MS), "nats").url;
  };
  const startHub = async (place: HubPlace, natsUrl: string | undefined): Promise<RunningHub> => {
    const env = natsUrl === undefined ? options.env : { ...options.env, HOLDFAST_NATS_URL: natsUrl };
    const hub = run(place.name, hubArgs(place, options.dataDir), env);
    children.hubs.set(place.name, hub);
    const { grpcAddress, httpAddress } = expectWord(await untilUp(hub, HUB_UP_WITHIN_MS), "listening");
    return { name: place.name, grpcAddress, hubUrl: `http://${httpAddress}` };
  };
  const roll = async ({ name, grpcAddress, hubUrl }: RunningHub, natsUrl: string | undefined) => {
    await children.hubs.get(name)?.stop(HUB_STOP_WITHIN_MS);
    if (isStopping) return;
    const httpListen = hubUrl.replace("http://", "");
    await startHub({ name, grpcListen: grpcAddress, httpListen }, natsUrl);
  };

  try {
    const natsUrl = await startNats();
    const [first, ...others] = options.hubs as readonly [HubPlace, ...HubPlace[]];
    // The first makes and migrates the ledger; the others find it there.
    const hubs: House["hubs"] = [
      await startHub(first, natsUrl),
      ...(await Promise.all(others.map((place) => startHub(place, natsUrl)))),
    ];
    const addresses = hubs.map(({ grpcAddress }) => grpcAddress).join(",");
    for (let worker = 1; worker <= options.workers; worker++) {
      const name = `scan-${worker}`;
      children.workers.push(run(name, workerArgs(name, addresses, options), options.env));
    }
    await Promise.all(children.workers.map((worker) => untilUp(worker, WORKER_UP_WITHIN_MS)));
    return {
      hubs,
      natsUrl,
      logs,
      failure,
      stop,
      roll: (hub) => {
        const rolled = roll(hub, natsUrl);
        rolling = rolled;
        return rolled;
      },
    };
  } catch (error) {
    await stop("failed");
    throw error;
  }
}

function expectWord<Type extends ChildMessage["type"]>(
  message: ChildMessage,
  type: Type,
): Extract<ChildMessage, { type: Type }> {
  if (message.type !== type) throw new TypeError(`A child said "${message.type}" where it says "${type}".`);
  return message as Extract<ChildMessage, { type: Type }>;
}

function hubArgs({ grpcListen, httpListen }: HubPlace, dataDir: string): readonly string[] {
  return ["hub", "--data-dir", dataDir, "--grpc-listen", grpcListen, "--http-listen", httpListen];
}

function workerArgs(name: string, addresses: string, options: HouseOptions): readonly string[] {
  const { dataDir, concurrency, sbomFile } = options;
  const limit = concurrency === undefined ? [] : ["--concurrency", String(concurrency)];
  const journal = join(dataDir, "workers", name);
  const sbom = sbomFile === undefined ? [] : ["--sbom", sbomFile];
  return ["worker", "scan", "--name", name, "--address", addresses, "--journal", journal, ...sbom, ...limit];
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
