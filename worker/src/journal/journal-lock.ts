import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Another live worker uses the directory. */
export class JournalLockedError extends Error {
  override readonly name = "JournalLockedError";
}

/** Directories locked by this very process; a lock file with our pid that is not among them is an old one. */
const heldHere = new Set<string>();

/**
 * Takes a journal directory for this process. Two workers that shared one would each report, and drop, the other's
 * results. The lock file names its owner as "pid start-time": the start time tells a live owner from another process
 * that was given the same pid since, which after a reboot is likely rather than exotic.
 *
 * @returns gives the directory back; safe to call twice
 * @throws JournalLockedError when the owner lives
 */
export function lockJournal(directory: string): () => void {
  const place = resolve(directory);
  const lockFile = join(place, "lock");
  if (heldHere.has(place)) {
    throw new JournalLockedError(`another worker of this process uses the journal ${place}`);
  }
  mkdirSync(place, { recursive: true });
  const self = owner(process.pid);
  while (!createFile(lockFile, self)) {
    const found = readOwner(lockFile);
    if (found === undefined) continue;
    if (isAlive(found)) {
      throw new JournalLockedError(
        `the journal ${place} is in use by process ${found.split(" ")[0]}: give each worker a name or a journal of ` +
          `its own (if that process is no Holdfast worker, delete ${lockFile})`,
      );
    }
    removeStale(lockFile, found);
  }
  heldHere.add(place);
  return () => {
    if (heldHere.delete(place)) rmSync(lockFile, { force: true });
  };
}

function createFile(path: string, content: string): boolean {
  try {
    writeFileSync(path, content, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function readOwner(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Takes a stale lock file away. It is moved aside first: of two workers that found the same stale file only one can
 * move it, and one that has moved a new owner's file instead sees that by its content and puts it back.
 */
function removeStale(lockFile: string, stale: string): void {
  const aside = `${lockFile}.${process.pid}`;
  try {
    renameSync(lockFile, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (readOwner(aside) !== stale) {
    try {
      linkSync(aside, lockFile);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  rmSync(aside, { force: true });
}

function isAlive(found: string): boolean {
  const pid = Number(found.split(" ")[0]);
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, under another user.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return owner(pid) === found;
}

/** "pid start-time"; the start time is "-" where the system does not tell it. */
function owner(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the command in brackets and may hold spaces; the start time is the 22nd.
    const afterCommand = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return `${pid} ${afterCommand[19] ?? "-"}`;
  } catch {
    return `${pid} -`;
  }
}
