import { execFile } from "node:child_process";
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { type Check, fail, ok, warn } from "./check.js";

// What the doctor finds out about this machine. The rules are functions of what was measured; only the functions
// at the end measure.

const NODE_MIN: readonly [major: number, minor: number] = [20, 19];
const MEBIBYTE = 1024 * 1024;
const DISK_FAIL_BYTES = 256 * MEBIBYTE;
const DISK_WARN_BYTES = 2_048 * MEBIBYTE;
const FILES_FAIL = 256;
/** A stream costs the hub a file; below this it cannot hold a thousand workers. */
const FILES_WARN = 4_096;

export function judgeNode(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isRecent = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  return isRecent
    ? ok("node", version)
    : fail("node", `${version} is too old`, `Install Node.js ${NODE_MIN.join(".")} or newer.`);
}

export function judgeDisk(directory: string, freeBytes: number): Check {
  const free = `${(freeBytes / (1024 * MEBIBYTE)).toFixed(1)} GiB free for ${directory}`;
  const next = "Free some space, or keep the ledger elsewhere: --data-dir.";
  if (freeBytes < DISK_FAIL_BYTES) {
    return fail("disk", free, next);
  }
  return freeBytes < DISK_WARN_BYTES ? warn("disk", free, next) : ok("disk", free);
}

/** `limit` as `ulimit -n` says it. */
export function judgeOpenFiles(limit: string): Check {
  const files = limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit);
  const next = "Raise it before starting a hub: `ulimit -n 65536`, or LimitNOFILE= in its systemd unit.";
  if (!(files >= FILES_FAIL)) {
    return fail("open files", `limit ${limit}`, next);
  }
  return files < FILES_WARN ? warn("open files", `limit ${limit}`, next) : ok("open files", `limit ${limit}`);
}

export async function checkMachine(dataDir: string): Promise<readonly Check[]> {
  return [judgeNode(process.versions.node), await checkDisk(resolve(dataDir)), await checkOpenFiles()];
}

async function checkDisk(directory: string): Promise<Check> {
  // The directory need not exist yet; then its nearest ancestor tells.
  for (let at = directory; ; at = dirname(at)) {
    const stats = await statfs(at).catch(() => undefined);
    if (stats !== undefined) {
      return judgeDisk(directory, stats.bavail * stats.bsize);
    }
    if (at === dirname(at)) {
      return warn("disk", `the free space for ${directory} is unknown`, "Check the path of --data-dir.");
    }
  }
}

async function checkOpenFiles(): Promise<Check> {
  try {
    const { stdout } = await promisify(execFile)("sh", ["-c", "ulimit -n"]);
    return judgeOpenFiles(stdout.trim());
  } catch {
    return ok("open files", "this system has no such limit");
  }
}
