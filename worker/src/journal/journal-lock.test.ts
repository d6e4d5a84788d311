import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { JournalLockedError, lockJournal } from "./journal-lock.js";

function place() {
  const parent = mkdtempSync(join(tmpdir(), "holdfast-lock-"));
  onTestFinished(() => rmSync(parent, { recursive: true, force: true }));
  return { directory: join(parent, "journal"), lockFile: join(parent, "journal", "lock") };
}

test("a directory is locked once, until it is given back", () => {
  const { directory, lockFile } = place();
  const unlock = lockJournal(directory);
  expect(() => lockJournal(directory)).toThrow(JournalLockedError);
  unlock();
  unlock();
  expect(existsSync(lockFile)).toBe(false);
  lockJournal(directory)();
});

test("the lock of a process that is gone is taken over", () => {
  const { directory, lockFile } = place();
  lockJournal(directory)();
  const gone = spawnSync(process.execPath, ["-p", "process.pid"]).stdout.toString().trim();
  writeFileSync(lockFile, `${gone} 12345`);
  const unlock = lockJournal(directory);
  expect(readFileSync(lockFile, "utf8")).toContain(String(process.pid));
  unlock();
});

/** When the process started, as its lock names it; "-" where the system does not tell. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "-";
  } catch {
    return "-";
  }
}

test("the lock of a living process stands, and its pid is named", () => {
  const { directory, lockFile } = place();
  const unlock = lockJournal(directory);
  expect(readFileSync(lockFile, "utf8")).toBe(`${process.pid} ${startTime(process.pid)}`);
  unlock();
  writeFileSync(lockFile, `${process.ppid} ${startTime(process.ppid)}`);
  expect(() => lockJournal(directory)).toThrow(
    new RegExp(`in use by process ${process.ppid}: .*${lockFile}`),
  );
});

test("a pid that belongs to another process by now does not hold the lock, nor does our own from a life before", () => {
  const { directory, lockFile } = place();
  lockJournal(directory)();
  writeFileSync(lockFile, `${process.ppid} 1`);
  lockJournal(directory)();
  writeFileSync(lockFile, `${process.pid} 1`);
  lockJournal(directory)();
});

test("a lock file without a readable owner is stale", () => {
  const { directory, lockFile } = place();
  lockJournal(directory)();
  for (const content of ["", "nonsense", "-5 1"]) {
    writeFileSync(lockFile, content);
    lockJournal(directory)();
  }
});
