import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** What a running server says of itself in its `postmaster.pid`. */
export interface Lockfile {
  pid: number;
  port: number;
}

async function readLockfile(clusterDir: string): Promise<Lockfile | undefined> {
  const text = await readFile(join(clusterDir, "postmaster.pid"), "utf8").catch(() => "");
  const [pid, , , port] = text.split("\n");
  return pid && port ? { pid: Number(pid), port: Number(port) } : undefined;
}

/** The server that has the directory now. A lock file alone proves nothing: a killed server leaves it behind. */
export async function findServer(clusterDir: string): Promise<Lockfile | undefined> {
  const found = await readLockfile(clusterDir);
  return found && (await isServerOf(found.pid, clusterDir)) ? found : undefined;
}

/**
 * PostgreSQL starts over the lock file of a dead server, unless its pid has been given to another process of the same
 * user. After the restart of a container that is the rule: pids begin at 1 again. Such a file is removed.
 */
export async function removeMisleadingLockfile(clusterDir: string): Promise<void> {
  const found = await readLockfile(clusterDir);
  if (found && isRunning(found.pid) && !(await isServerOf(found.pid, clusterDir))) {
    await rm(join(clusterDir, "postmaster.pid"), { force: true });
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * When it cannot be told, the answer is yes. A wrong no does no harm either: PostgreSQL's shared memory, found by the
 * directory's inode, keeps a second server out.
 */
async function isServerOf(pid: number, clusterDir: string): Promise<boolean> {
  if (!isRunning(pid)) return false;
  try {
    return (await commandOf(pid)).includes(clusterDir);
  } catch {
    return isRunning(pid);
  }
}

/** Empty for a zombie, which holds nothing any more. */
async function commandOf(pid: number): Promise<string> {
  if (process.platform === "linux") return await readFile(`/proc/${pid}/cmdline`, "utf8");
  if (process.platform === "win32") throw new Error("there is no cheap way to ask");
  return (await promisify(execFile)("ps", ["-p", String(pid), "-o", "command="])).stdout;
}
