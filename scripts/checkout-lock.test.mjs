import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { oldAfterMs, withLock } from "./checkout-lock.mjs";

const lockModule = fileURLToPath(new URL("checkout-lock.mjs", import.meta.url));
let folder = "";
const lock = () => join(folder, "cache/lock");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A process that takes the lock, marks that it is inside, fails if another is, and leaves after a while. */
function startHolder(holdMs) {
  const inside = join(folder, "inside");
  const program = `
    import { rmSync, writeFileSync } from "node:fs";
    import { setTimeout as sleep } from "node:timers/promises";
    import { withLock } from ${JSON.stringify(lockModule)};
    await withLock(${JSON.stringify(lock())}, (pid) => console.log("waits for", pid), async () => {
      writeFileSync(${JSON.stringify(inside)}, "", { flag: "wx" });
      console.log("inside");
      await sleep(${holdMs});
      rmSync(${JSON.stringify(inside)});
    });`;
  return spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
}

test("no two processes are inside at once, and each comes in", async () => {
  const holders = Array.from({ length: 4 }, () => startHolder(150));
  const codes = await Promise.all(holders.map(async (holder) => (await once(holder, "exit"))[0]));
  expect(codes).toEqual([0, 0, 0, 0]);
  expect(existsSync(lock())).toBe(false);
});

test("what a killed process left is taken away once it is old", async () => {
  const killed = startHolder(60_000);
  await once(killed.stdout, "data");
  killed.kill("SIGKILL");
  await once(killed, "exit");
  rmSync(join(folder, "inside"));
  const old = new Date(Date.now() - oldAfterMs - 1_000);
  utimesSync(lock(), old, old);
  const holders = Array.from({ length: 3 }, () => startHolder(100));
  const codes = await Promise.all(holders.map(async (holder) => (await once(holder, "exit"))[0]));
  expect(codes).toEqual([0, 0, 0]);
});

test("whoever waits is told for whom, and the lock is let go of when the act fails", async () => {
  const holder = startHolder(500);
  await once(holder.stdout, "data");
  const waited = [];
  const failing = withLock(
    lock(),
    (pid) => waited.push(Number(pid)),
    async () => {
      throw new Error("no disk");
    },
  );
  await expect(failing).rejects.toThrow("no disk");
  expect(waited).toEqual([holder.pid]);
  expect(existsSync(lock())).toBe(false);
});
