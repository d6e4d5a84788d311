import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { startOwnPostgres } from "../../hub/test/harness/postgres.js";
import { until } from "../../hub/test/harness/raw-wait.js";

interface Line {
  readonly kind: string;
  readonly t?: string;
  readonly metric?: string;
  readonly value?: number;
  readonly event_tables?: readonly string[];
  readonly db_name?: string;
}

const program = fileURLToPath(new URL("../dist/programs/queue-harness.js", import.meta.url));
const waitMs = 60_000;

function startAdapter(databaseUrl: string) {
  const child = spawn(process.execPath, [program], {
    env: {
      ...process.env,
      DATABASE_URL: databaseUrl,
      PRODUCER_RATE: "100",
      WORKER_COUNT: "8",
      JOB_WORK_MS: "1",
      SAMPLE_EVERY_S: "1",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: Line[] = [];
  let rest = "";
  let errors = "";
  child.stdout.on("data", (chunk) => {
    const texts = `${rest}${chunk}`.split("\n");
    rest = texts.pop() ?? "";
    // Every line is JSON: one that is not fails the test.
    lines.push(...texts.map((text) => JSON.parse(text) as Line));
  });
  child.stderr.on("data", (chunk) => {
    errors = `${errors}${chunk}`.slice(-4_000);
  });
  onTestFinished(async () => {
    if (child.exitCode === null && child.kill("SIGKILL")) await once(child, "exit");
  });
  const completing = (since: number) =>
    until(
      () => lines.slice(since).find(({ metric, value }) => metric === "completion_rate" && (value ?? 0) > 50),
      `jobs completed at their rate\n${errors}`,
      waitMs,
    );
  return { child, lines, completing };
}

test("the adapter describes itself, samples by the wall clock, outlives its database, and ends when it is told to", async () => {
  const postgres = await startOwnPostgres();
  onTestFinished(() => postgres.stop());
  const { child, lines, completing } = startAdapter(postgres.url);

  await completing(0);
  expect(lines[0]).toMatchObject({ kind: "descriptor", db_name: "holdfast" });
  expect(lines[0]?.event_tables).toContainEqual(expect.stringMatching(/^holdfast\.job_\d{8}$/));
  const sampled = await until(
    () =>
      lines.find(({ metric }) => metric === "queue_depth" && lines.some((l) => l.metric === "claim_p99_ms")),
    "all metrics",
    waitMs,
  );
  expect(Date.parse(sampled.t as string) % 1_000).toBe(0);
  expect(new Set(lines.slice(1).map(({ metric }) => metric))).toEqual(
    new Set([
      "claim_p50_ms",
      "claim_p95_ms",
      "claim_p99_ms",
      "enqueue_rate",
      "completion_rate",
      "queue_depth",
    ]),
  );

  const db = new pg.Client({ connectionString: postgres.url });
  await db.connect();
  const ended = await db.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()",
  );
  await db.end();
  expect(ended.rowCount).toBeGreaterThan(0);
  await completing(lines.length);

  await postgres.restart();
  await completing(lines.length);

  const toldAtMs = performance.now();
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
  expect(performance.now() - toldAtMs).toBeLessThan(5_000);
}, 180_000);

test("the adapter ends in time also while its database is away", async () => {
  const postgres = await startOwnPostgres();
  const { child, completing } = startAdapter(postgres.url);
  await completing(0);
  await postgres.stop();

  const toldAtMs = performance.now();
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
  expect(performance.now() - toldAtMs).toBeLessThan(5_000);
}, 180_000);
