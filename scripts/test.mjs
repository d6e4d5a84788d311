// `npm test`: bootstrap, the checks, every test; the last line counts them all. `npm test -- hub/test/lanes` runs the
// tests that match and leaves the checks out.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootstrap, bootstrapDependencies, Foreseen, root } from "./bootstrap.mjs";
import { checks } from "./checks.mjs";

/** A run that hangs is a run that failed; on two cores that are free the whole takes about two thirds of this. */
const vitestTimeoutMs = 13 * 60_000;
const endTimeoutMs = 15_000;

const total = { passed: 0, failed: 0, skipped: 0 };
try {
  await runAll(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Foreseen)) throw error;
  console.log(error.message);
  total.failed += 1;
}
process.exitCode = total.failed > 0 ? 1 : 0;
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);

async function runAll(filter) {
  if (filter.length > 0) {
    await bootstrap();
  } else {
    await bootstrapDependencies();
    for (const { title, check } of checks) await runCheck(title, check);
  }
  await runVitest(filter);
}

async function runCheck(title, check) {
  const beganAt = performance.now();
  const { ok, output } = await check().catch((error) => ({ ok: false, output: error.message }));
  const seconds = ((performance.now() - beganAt) / 1_000).toFixed(1);
  console.log(`${ok ? "ok    " : "FAILED"}  ${title} (${seconds} s)`);
  if (!ok) console.log(output);
  total[ok ? "passed" : "failed"] += 1;
}

async function runVitest(filter) {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-report-"));
  const reportFile = join(folder, "vitest.json");
  try {
    const args = [
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${reportFile}`,
      ...filter,
    ];
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const child = spawn(process.execPath, [vitest, ...args], {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      detached: process.platform !== "win32",
    });
    const exitCode = await endOf(child);
    const report = await readFile(reportFile, "utf8").then(JSON.parse, () => undefined);
    countTests(report, exitCode);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** vitest has a process group of its own, so that what it started ends with it, on a signal and on a hang. */
async function endOf(child) {
  const end = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // Nobody is left, or the system has no process groups: the child then goes with its children.
      child.kill(signal);
    }
  };
  const interrupt = () => end("SIGTERM");
  const hung = setTimeout(() => {
    console.log(`FAILED  the tests did not end within ${vitestTimeoutMs / 60_000} minutes`);
    interrupt();
    setTimeout(() => end("SIGKILL"), endTimeoutMs).unref();
  }, vitestTimeoutMs);
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, interrupt);
  const [code] = await once(child, "exit");
  clearTimeout(hung);
  end("SIGKILL");
  return code;
}

/** A file that did not load, an error outside any test, a missing report: each is a failure that no test counts. */
function countTests(report, exitCode) {
  if (!report) {
    total.failed += 1;
    return;
  }
  const unloaded = report.testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.every((test) => test.status !== "failed"),
  ).length;
  const failed = report.numFailedTests + unloaded;
  total.passed += report.numPassedTests;
  total.failed += failed === 0 && exitCode !== 0 ? 1 : failed;
  total.skipped += report.numPendingTests + report.numTodoTests;
}
