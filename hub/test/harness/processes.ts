// Hubs and workers as processes of their own, to be killed, stopped and started again. Each is ended with its test.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { until } from "./raw-wait.js";

export interface TestProcess {
  readonly pid: number;
  /** Lines of its stdout that are JSON, oldest first. */
  readonly said: readonly Readonly<Record<string, unknown>>[];
  kill(signal: NodeJS.Signals): void;
  exited(): Promise<void>;
  stderr(): string;
}

export interface HubProcess extends TestProcess {
  readonly grpcAddress: string;
  readonly httpAddress: string;
}

export interface WorkerCounts {
  readonly started: number;
  readonly committed: number;
  readonly duplicate: number;
  readonly stale: number;
}

export interface WorkerProcess extends TestProcess {
  counts(): WorkerCounts;
}

export interface HubProcessOptions {
  readonly databaseUrl: string;
  readonly grpcListen: string;
  readonly sessionTtlMs: number;
  /** NATS for lanes, bus and events; without it the hub is alone. */
  readonly natsUrl?: string;
  /** Without it the hub seals nothing. */
  readonly auditKey?: string;
}

const cli = fileURLToPath(new URL("../../../cli/bin/holdfast.js", import.meta.url));
const worker = fileURLToPath(new URL("./processes-worker.mjs", import.meta.url));
const signals = fileURLToPath(new URL("./processes-signals.mjs", import.meta.url));
const startLimitMs = 20_000;

export async function startHubProcess(options: HubProcessOptions): Promise<HubProcess> {
  const child = startProcess([
    ...[cli, "hub", "--json"],
    ...["--database-url", options.databaseUrl],
    ...["--grpc-listen", options.grpcListen],
    ...["--http-listen", "127.0.0.1:0"],
    ...["--session-ttl-ms", String(options.sessionTtlMs)],
    ...["--heartbeat-interval-ms", String(Math.floor(options.sessionTtlMs / 5))],
    ...["--drain-grace-ms", "500"],
    ...(options.auditKey === undefined ? [] : ["--audit-key", options.auditKey]),
    ...(options.natsUrl === undefined ? [] : ["--nats-url", options.natsUrl, "--event-sink", "nats"]),
  ]);
  const listening = await until(
    () => child.said.find((line) => line.event === "listening"),
    "the hub's ports",
    startLimitMs,
  ).catch((cause: unknown) => {
    throw new Error(`the hub did not start:\n${child.stderr()}`, { cause });
  });
  const { grpcAddress, httpAddress } = listening as { grpcAddress: string; httpAddress: string };
  return { ...child, grpcAddress, httpAddress };
}

export function startWorkerProcess(options: Readonly<Record<string, unknown>>): WorkerProcess {
  const child = startProcess([worker, JSON.stringify(options)]);
  const none = { started: 0, committed: 0, duplicate: 0, stale: 0 };
  return { ...child, counts: () => (child.said.at(-1) ?? none) as unknown as WorkerCounts };
}

/** A producer or a consumer of signals. */
export function startSignalProcess(options: Readonly<Record<string, unknown>>): TestProcess {
  return startProcess([signals, JSON.stringify(options)]);
}

/** A port that was free a moment ago: for a hub that must come back where it was. */
export async function freeAddress(): Promise<string> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return `127.0.0.1:${port}`;
}

function startProcess(args: readonly string[]): TestProcess {
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const said: Record<string, unknown>[] = [];
  let rest = "";
  let errors = "";
  child.stdout?.on("data", (chunk) => {
    const lines = `${rest}${chunk}`.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("{")) said.push(JSON.parse(line));
  });
  child.stderr?.on("data", (chunk) => {
    errors = `${errors}${chunk}`.slice(-8_000);
  });
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  const exited = async () => {
    if (!isOver()) await once(child, "exit");
  };
  onTestFinished(async () => {
    // A stopped process takes SIGKILL too.
    child.kill("SIGKILL");
    await exited();
  });
  return {
    pid: child.pid ?? 0,
    said,
    kill: (signal) => void child.kill(signal),
    exited,
    stderr: () => errors,
  };
}
