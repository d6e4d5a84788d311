// One process at a time installs and builds in a checkout: two `npm ci` at once wreck each other. A file says that
// somebody does, and is touched all the while: that of a process that is gone grows old, and is taken away. (A pid alone
// would not tell: in a container the next process may well have the same.)
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const lookEveryMs = 200;
const touchEveryMs = 1_000;
export const oldAfterMs = 10_000;

/** Whoever may not write here installs nothing here either. */
const readOnly = ["EACCES", "EPERM", "EROFS"];

/**
 * Does something while no other process does it under the same file.
 *
 * @param onWait told the holder's pid, once, when there is one to wait for
 */
export async function withLock(file, onWait, act) {
  if (!(await takeLock(file, onWait))) return await act();
  const touching = setInterval(() => touch(file), touchEveryMs);
  try {
    return await act();
  } finally {
    clearInterval(touching);
    rmSync(file, { force: true });
  }
}

/** It is gone when this machine slept for long and another process was faster. */
function touch(file) {
  const now = new Date();
  try {
    utimesSync(file, now, now);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

/** Answers false where nobody can take it. */
async function takeLock(file, onWait) {
  for (let looks = 0; ; looks += 1) {
    try {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, String(process.pid), { flag: "wx" });
      return true;
    } catch (error) {
      if (readOnly.includes(error.code)) return false;
      if (error.code !== "EEXIST") throw error;
    }
    if (isOld(file)) {
      takeAway(file);
      continue;
    }
    if (looks === 0) onWait(holderOf(file));
    await sleep(lookEveryMs);
  }
}

function isOld(file) {
  const mtimeMs = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
  return Date.now() - mtimeMs > oldAfterMs;
}

/** Another process may have taken it away just now, and a third hold a new one: that is put back. */
function takeAway(file) {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
    if (!isOld(aside)) linkSync(aside, file);
    unlinkSync(aside);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

function holderOf(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
