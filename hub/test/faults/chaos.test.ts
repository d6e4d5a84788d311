import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const chaos = fileURLToPath(new URL("../../../loadtest/dist/chaos/main.js", import.meta.url));
const sizes = ["--jobs", "12000", "--sessions", "30", "--worker-processes", "3", "--session-ttl-ms", "3000"];

test("whatever goes wrong, one after the other, every accepted job ends once, and its events are complete (D1, D2, D3, D4, D5, D6, D9, D20, D21)", async () => {
  const run = promisify(execFile)(process.execPath, [chaos, ...sizes, "--json"]);
  // It fails with 1 when the contract is broken; the report says how, and by which seed to see it again.
  const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error);
  expect(stdout, stderr).toContain('"checks"');
  const report = JSON.parse(stdout);
  const broken = report.checks.filter((check: { broken: string[] }) => check.broken.length > 0);
  expect(broken, stderr).toEqual([]);
  expect(report).toMatchObject({ jobs: 12_000 });
  expect(report.struck.map(({ fault }: { fault: string }) => fault)).toEqual([
    "hub-kill",
    "hub-freeze",
    "nats-kill",
    "nats-wipe",
    "postgres-restart",
  ]);
}, 300_000);
