import { randomBytes, randomUUID } from "node:crypto";
import { chown, link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Binaries, MajorVersion } from "./embedded-postgres-binaries.js";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";
import { isRunning } from "./embedded-postgres-lockfile.js";
import type { Place } from "./embedded-postgres-place.js";
import { runBinary } from "./embedded-postgres-run.js";

export const superuser = "holdfast";

export type Settings = Readonly<Record<string, string>>;

/** What D1 rests on is spelled out, though PostgreSQL defaults to it. */
const defaultSettings: Settings = {
  fsync: "on",
  full_page_writes: "on",
  synchronous_commit: "on",
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  password_encryption: "scram-sha-256",
  shared_buffers: "256MB",
  // Files of the log are kept and used again: to make one takes longer than anything else that a commit may wait for.
  min_wal_size: "512MB",
  max_wal_size: "2GB",
  checkpoint_timeout: "10min",
  // Short statements by key gain nothing from either, and a container's /dev/shm is small.
  max_parallel_workers_per_gather: "0",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_line_prefix: "%m [%p] %q%a ",
  log_checkpoints: "off",
};

/**
 * Creates the cluster unless it is there. It is built beside its place and renamed into it, so a cluster is whole or
 * absent, whoever is killed and however many processes do this at once.
 */
export async function ensureCluster(place: Place, binaries: Binaries, version: MajorVersion): Promise<void> {
  const found = await clusterVersion(place);
  if (found !== undefined && found !== version) {
    throw new EmbeddedPostgresError(
      `${place.clusterDir} was written by PostgreSQL ${found}, and this is PostgreSQL ${version}, which cannot read it. ` +
        `To keep the data, dump it with a Holdfast that runs ${found} and restore it into a new data directory; ` +
        "to begin anew, move that directory away.",
    );
  }
  if (found !== undefined) return;
  await removeAbandoned(place);
  const unfinished = `${place.clusterDir}.${process.pid}.${randomUUID()}`;
  await mkdir(unfinished, { mode: 0o700 });
  try {
    await giveAway(unfinished, place);
    await ensurePassword(place);
    const { exitCode, output } = await runBinary(
      binaries.initdb,
      [
        `--pgdata=${unfinished}`,
        `--username=${superuser}`,
        `--pwfile=${place.passwordFile}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        "--no-instructions",
      ],
      place.account,
    );
    if (exitCode !== 0) throw new EmbeddedPostgresError(`initdb failed (exit code ${exitCode}):\n${output}`);
    await writeFile(join(unfinished, "postgresql.conf"), "include 'holdfast.conf'\n");
    await rename(unfinished, place.clusterDir);
  } catch (cause) {
    await rm(unfinished, { recursive: true, force: true });
    if ((await clusterVersion(place)) === undefined) throw cause;
  }
}

export async function readPassword(place: Place): Promise<string> {
  try {
    return (await readFile(place.passwordFile, "utf8")).trim();
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `${place.passwordFile}, the password of the cluster beside it, cannot be read: run as its owner, or restore it.`,
      { cause },
    );
  }
}

/** The server's whole configuration: read by it at its next start, replaced whole by renaming. */
export async function writeSettings(place: Place, port: number, settings: Settings): Promise<void> {
  const lines = Object.entries({ ...defaultSettings, ...settings, port: String(port) }).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  );
  const unfinished = join(place.clusterDir, `holdfast.conf.${randomUUID()}`);
  await writeFile(unfinished, lines.join(""), { mode: 0o600 });
  await giveAway(unfinished, place);
  await rename(unfinished, join(place.clusterDir, "holdfast.conf"));
}

async function clusterVersion(place: Place): Promise<string | undefined> {
  try {
    return (await readFile(join(place.clusterDir, "PG_VERSION"), "utf8")).trim();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new EmbeddedPostgresError(
      `${place.clusterDir} cannot be read: run as its owner, or choose another data directory.`,
      { cause },
    );
  }
}

/** One password however many processes get here at once: the first to link its file wins. */
async function ensurePassword(place: Place): Promise<void> {
  const unfinished = `${place.passwordFile}.${randomUUID()}`;
  await writeFile(unfinished, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600 });
  try {
    await giveAway(unfinished, place);
    await link(unfinished, place.passwordFile);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
  } finally {
    await rm(unfinished);
  }
}

async function giveAway(path: string, place: Place): Promise<void> {
  if (place.account) await chown(path, place.account.uid, place.account.gid);
}

/** What processes that were killed during initdb left behind. */
async function removeAbandoned(place: Place): Promise<void> {
  for (const name of await readdir(place.home)) {
    const pid = /^cluster\.(\d+)\./.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) {
      await rm(join(place.home, name), { recursive: true, force: true });
    }
  }
}
