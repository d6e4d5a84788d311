/**
 * PostgreSQL servers of a test run, each in a folder of its own under one folder of the run, beside its NATS servers. The
 * run ends them all when it ends, also those that a failed or killed test left; what a killed run left, the next run ends.
 */
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { chmod, mkdir, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/ledger/embedded-postgres.js";
import { findServer, isRunning } from "../../src/ledger/embedded-postgres-lockfile.js";
import { endNatsServersOf } from "./nats-run.js";

const runPrefix = "holdfast-test-";
const stopTimeoutMs = 10_000;

/** TMPDIR of root is often closed to the account that PostgreSQL runs as. */
const temporaryRoot = process.getuid?.() === 0 ? "/tmp" : tmpdir();

export async function createRunFolder(): Promise<string> {
  return await createOpenFolder(
    join(temporaryRoot, `${runPrefix}${process.pid}-${randomUUID().slice(0, 8)}`),
  );
}

/** Nothing here is relaxed that durability rests on: tests kill this server and count what survived. */
export async function startServerIn(
  runFolder: string,
  version: "18" | "15" = "18",
): Promise<EmbeddedPostgres> {
  const dataDir = await createOpenFolder(join(runFolder, `postgres-${version}-${randomUUID().slice(0, 8)}`));
  const lines: string[] = [];
  try {
    return await startEmbeddedPostgres({
      dataDir,
      version,
      log: (line) => lines.push(line),
      settings: { shared_buffers: "128MB", max_connections: "200", max_wal_size: "1GB" },
    });
  } catch (cause) {
    throw new Error(`no PostgreSQL ${version} for the tests\n${lines.join("\n")}`, { cause });
  }
}

export async function endServersOf(runFolder: string): Promise<void> {
  endNatsServersOf(runFolder);
  for (const name of await readdir(runFolder)) {
    const clusterDir = join(runFolder, name, "postgres", "cluster");
    const running = await findServer(clusterDir);
    if (running) await endServer(running.pid, clusterDir);
  }
  await rm(runFolder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

/** For an exit that leaves no time to wait: the signal now, the files as the servers let go of them. */
export function endServersAtOnce(runFolder: string): void {
  if (!existsSync(runFolder)) return;
  endNatsServersOf(runFolder);
  for (const name of readdirSync(runFolder)) {
    try {
      const lockfile = join(runFolder, name, "postgres", "cluster", "postmaster.pid");
      process.kill(Number.parseInt(readFileSync(lockfile, "utf8"), 10), "SIGQUIT");
    } catch {
      // This one has no server.
    }
  }
  rmSync(runFolder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

export async function endAbandonedRuns(): Promise<void> {
  for (const name of await readdir(temporaryRoot)) {
    const pid = new RegExp(`^${runPrefix}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) await endServersOf(join(temporaryRoot, name));
  }
}

async function endServer(pid: number, clusterDir: string): Promise<void> {
  const deadline = performance.now() + stopTimeoutMs;
  process.kill(pid, "SIGQUIT");
  while (await findServer(clusterDir)) {
    if (performance.now() > deadline) process.kill(pid, "SIGKILL");
    await sleep(20);
  }
}

async function createOpenFolder(path: string): Promise<string> {
  await mkdir(path);
  await chmod(path, 0o755);
  return path;
}
