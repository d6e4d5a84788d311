/**
 * nats-servers on loopback, alone or as a cluster, with JetStream on files: for tests, for trials of faults and for a
 * fleet on one machine. A server keeps its ports and its folder over stop, kill and restart; it ends with this process
 * only if it is stopped.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findNatsServer } from "./nats-server-binary.js";
import { NatsServerError } from "./nats-server-error.js";

export interface NatsServerSettings {
  /** Where each server has its folder: configuration, log, pid file and JetStream's store. */
  readonly folder: string;
  /** 1, or a cluster of 3 or 5. */
  readonly serversCount?: number;
  /** How often JetStream flushes to the disk: a duration of NATS such as `2m`, its default, or `always`. */
  readonly syncInterval?: string;
  /** First client port, the next ones following; without it, free ones. */
  readonly firstPort?: number;
  /** Added to the configuration of each server, in NATS's own format: accounts, TLS. */
  readonly configuration?: string;
  readonly log?: (line: string) => void;
}

export interface NatsServer {
  readonly name: string;
  /** `nats://127.0.0.1:PORT` */
  readonly url: string;
  readonly folder: string;
  /** Of the process that runs now; undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Ends the process as an operator would (SIGTERM). Idempotent. */
  stop(): Promise<void>;
  /** Ends the process without a chance to flush anything (SIGKILL). Idempotent. */
  kill(): Promise<void>;
  /** Starts it again on its ports, once stopped or killed; `isWiped` leaves nothing of what it stored. */
  start(options?: { isWiped?: boolean }): Promise<void>;
}

export interface NatsServers {
  /** Of all servers, as HOLDFAST_NATS_URL takes it. */
  readonly url: string;
  readonly servers: readonly NatsServer[];
  /** Stops them all; the folder stays. */
  stop(): Promise<void>;
}

const readyTimeoutMs = 60_000;
const stopTimeoutMs = 10_000;
const attemptsMax = 3;

/** @throws NatsServerError when there is no binary or a server does not come up */
export async function startNatsServers(settings: NatsServerSettings): Promise<NatsServers> {
  const binary = await findNatsServer(settings.log);
  const folder = resolve(settings.folder);
  for (let attempt = 1; ; attempt++) {
    const servers = await describeServers(settings, folder, binary);
    const stop = async () => {
      await Promise.all(servers.map((server) => server.stop()));
    };
    try {
      await Promise.all(servers.map((server) => server.start()));
      return { url: servers.map((server) => server.url).join(","), servers, stop };
    } catch (error) {
      await stop();
      // Another process may have taken a port that was free when it was chosen.
      if (settings.firstPort !== undefined || attempt === attemptsMax) throw error;
    }
  }
}

async function describeServers(
  settings: NatsServerSettings,
  folder: string,
  binary: string,
): Promise<NatsServer[]> {
  const { serversCount = 1, firstPort } = settings;
  const free = await freePorts(2 * serversCount);
  const routes = free.slice(serversCount).map((port) => `nats://127.0.0.1:${port}`);
  return Array.from({ length: serversCount }, (_, index) => {
    const port = firstPort === undefined ? (free[index] as number) : firstPort + index;
    const name = `nats-${index + 1}`;
    const own = join(folder, name);
    const lines = [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${port}"`,
      `pid_file: ${JSON.stringify(join(own, "nats-server.pid"))}`,
      `jetstream { store_dir: ${JSON.stringify(join(own, "jetstream"))}, sync_interval: ${settings.syncInterval ?? "2m"} }`,
    ];
    if (settings.configuration !== undefined) lines.push(settings.configuration);
    if (serversCount > 1)
      lines.push(
        `cluster { name: holdfast, listen: "127.0.0.1:${free[serversCount + index]}", routes: [${routes.map((route) => JSON.stringify(route)).join(", ")}] }`,
      );
    return serverOf(binary, name, own, port, lines.join("\n"));
  });
}

function serverOf(
  binary: string,
  name: string,
  folder: string,
  port: number,
  configuration: string,
): NatsServer {
  let child: ChildProcess | undefined;

  async function end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const ending = child;
    if (ending === undefined) return;
    if (!hasEnded(ending)) {
      const exited = once(ending, "exit");
      ending.kill(signal);
      const late = setTimeout(() => ending.kill("SIGKILL"), stopTimeoutMs);
      await exited;
      clearTimeout(late);
    }
    child = undefined;
  }

  return {
    name,
    folder,
    url: `nats://127.0.0.1:${port}`,
    get pid() {
      return child && !hasEnded(child) ? child.pid : undefined;
    },
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    async start({ isWiped = false } = {}) {
      if (child && !hasEnded(child)) return;
      if (isWiped) await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { recursive: true });
      const configurationPath = join(folder, "nats-server.conf");
      await writeFile(configurationPath, `${configuration}\n`);
      const logFile = openSync(join(folder, "nats-server.log"), "a");
      const started = spawn(binary, ["--config", configurationPath], {
        stdio: ["ignore", logFile, logFile],
      });
      closeSync(logFile);
      started.on("error", () => undefined);
      child = started;
      await waitUntilReady(started, port, folder);
    },
  };
}

async function waitUntilReady(child: ChildProcess, port: number, folder: string): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs;
  while (!(await greets(port))) {
    if (hasEnded(child) || performance.now() > deadline) {
      const log = await readFile(join(folder, "nats-server.log"), "utf8").catch(() => "");
      throw new NatsServerError(`nats-server does not come up on 127.0.0.1:${port}:\n${log.slice(-2_000)}`);
    }
    await delay(20);
  }
}

/** A nats-server says INFO to whoever connects. */
async function greets(port: number): Promise<boolean> {
  return await new Promise<boolean>((answer) => {
    const socket = createConnection({ host: "127.0.0.1", port });
    const finish = (isThere: boolean) => {
      socket.destroy();
      answer(isThere);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
    socket.once("data", (chunk) => finish(chunk.toString().startsWith("INFO ")));
  });
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function freePorts(count: number): Promise<number[]> {
  const held = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = held.map((server) => (server.address() as { port: number }).port);
  await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}
