// Holdfast as a subject of a neutral harness for Postgres job queues: a hub on the database that it is given, a worker
// of the SDK, and a producer, in one process that is configured by variables and tells by JSON lines on stdout. What
// must hold:
// - It outlives a PostgreSQL that ends its connections or restarts: hub and worker come back by themselves, and the
//   producer submits again what was not answered.
// - It ends within 5 s of a SIGTERM, with 0.
//
// Latency is from just before the submit to the first line of the handler, by one clock. Completions are verdicts.
import { readFileSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exit } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { startHub } from "@holdfast/hub/main";
import { createClient, type HoldfastClient, HoldfastError, startWorker } from "@holdfast/worker";
import pg from "pg";
import { latencyWindow } from "../harness/latency-window.js";
import { descriptorLine, nextSampleAtMs, type Sample, sampleLine } from "../harness/lines.js";
import { dueJobs } from "../harness/offer.js";
import { type HarnessSettings, readHarnessSettings } from "../harness/settings.js";
import { type TimedPayload, timedPayload } from "../latency/timed-payload.js";
import { UsageError } from "../options.js";
import { nowMs } from "../wall-clock.js";

const kind = "bench";
const latencyWindowSeconds = 30;
const submitsInFlightMax = 4;
const submitAgainMs = 200;
const endWithinMs = 4_500;
const tablesQuery = `select n.nspname || '.' || c.relname as name from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'holdfast' and c.relkind = 'r' and not c.relname = any($1) order by 1`;
/** Not on the way of a job. */
const quietTables = ["api_key", "tenant", "writer", "migration"];

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};

const say = (line: string) => process.stdout.write(`${line}\n`);
const log = (line: string) => process.stderr.write(`${line}\n`);

const ending = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    setTimeout(() => exit(0), endWithinMs).unref();
    ending.abort();
  });
}
// A harness that goes away without a signal leaves a closed pipe behind.
process.stdout.on("error", () => exit(0));

try {
  await run(readHarnessSettings(process.env), ending.signal);
  exit(0);
} catch (error) {
  log(error instanceof UsageError ? error.message : String((error as Error).stack));
  exit(error instanceof UsageError ? 2 : 1);
}

async function run(settings: HarnessSettings, signal: AbortSignal): Promise<void> {
  const startedAtMs = nowMs();
  const hub = await startHub(
    {
      databaseUrl: settings.databaseUrl,
      grpcListen: "127.0.0.1:0",
      httpListen: "127.0.0.1:0",
      drainGraceMs: 500,
    },
    log,
  );
  say(
    descriptorLine({
      eventTables: await readTables(settings.databaseUrl),
      version,
      databaseUrl: settings.databaseUrl,
      startedAtMs,
    }),
  );
  const journal = await mkdtemp(join(tmpdir(), "holdfast-harness-"));
  process.once("exit", () => rmSync(journal, { recursive: true, force: true }));
  const latencies = latencyWindow(latencyWindowSeconds * 1_000);
  const client = createClient({ address: hub.grpcAddress });
  const worker = startWorker({
    address: hub.grpcAddress,
    name: "bench",
    journal,
    concurrency: settings.workers,
    handleSignals: false,
    drainTimeoutMs: 1_000,
    handlers: {
      [kind]: async (job) => {
        const atMs = nowMs();
        if (job.attempt === 1) latencies.add(atMs, atMs - job.json<TimedPayload>().sentAtMs);
        if (settings.workMs > 0) await delay(settings.workMs);
      },
    },
  });
  const counts = { submitted: 0, completed: () => worker.stats().committed };
  const producing = produce(settings, client, counts, signal);
  const sampling = sampleForever(settings, latencies, counts, signal);
  await Promise.race([Promise.all([producing, sampling]), worker.done]);
  if (!signal.aborted) throw new Error("The worker closed before it was told to.");
  client.close();
  await worker.stop();
  await hub.stop("the harness has ended it");
}

interface Counts {
  /** Jobs that the hub has answered for. */
  submitted: number;
  readonly completed: () => number;
}

/** Offers what is due every tick. Batches wait for each other only when several are not answered. */
async function produce(
  settings: HarnessSettings,
  client: HoldfastClient,
  counts: Counts,
  signal: AbortSignal,
): Promise<void> {
  const beganAtMs = nowMs();
  const inFlight = new Set<Promise<void>>();
  let offered = 0;
  while (!signal.aborted) {
    const depth = offered - counts.completed();
    let due = dueJobs(settings, { elapsedMs: nowMs() - beganAtMs, submitted: offered, depth });
    while (due > 0 && !signal.aborted) {
      if (inFlight.size >= submitsInFlightMax) await Promise.race(inFlight);
      const jobs = Math.min(due, settings.batchMax);
      const batch = submitUntilAnswered(settings, client, offered, jobs, signal).then((accepted) => {
        counts.submitted += accepted;
        inFlight.delete(batch);
      });
      inFlight.add(batch);
      offered += jobs;
      due -= jobs;
    }
    await delay(settings.batchMs, undefined, { signal }).catch(() => undefined);
  }
  await Promise.all(inFlight);
}

/**
 * Without idempotency keys, which no other subject has: a job that was written but not answered, because the ledger went
 * away just then, is submitted again and runs twice.
 */
async function submitUntilAnswered(
  { payloadBytes }: HarnessSettings,
  client: HoldfastClient,
  first: number,
  count: number,
  signal: AbortSignal,
): Promise<number> {
  const jobs = Array.from({ length: count }, (_, at) => ({
    kind,
    payload: timedPayload(first + at, nowMs(), payloadBytes),
  }));
  for (let open = jobs, accepted = 0; ; ) {
    if (signal.aborted) return accepted;
    try {
      const items = await client.submitBatch(open);
      accepted += items.filter((item) => item.outcome === "accepted").length;
      open = open.filter((_, at) => items[at]?.outcome !== "accepted");
      if (open.length === 0) return accepted;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
    }
    await delay(submitAgainMs, undefined, { signal }).catch(() => undefined);
  }
}

async function sampleForever(
  { sampleEverySeconds }: HarnessSettings,
  latencies: ReturnType<typeof latencyWindow>,
  counts: Counts,
  signal: AbortSignal,
): Promise<void> {
  let last = { atMs: nowMs(), submitted: counts.submitted, completed: counts.completed() };
  while (!signal.aborted) {
    const dueAtMs = nextSampleAtMs(nowMs(), sampleEverySeconds);
    await delay(dueAtMs - nowMs(), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const now = { atMs: nowMs(), submitted: counts.submitted, completed: counts.completed() };
    const seconds = (now.atMs - last.atMs) / 1_000;
    const claimed = latencies.read(now.atMs);
    const samples: Sample[] = [
      ...(claimed
        ? ([
            { metric: "claim_p50_ms", value: claimed.p50, windowSeconds: latencyWindowSeconds },
            { metric: "claim_p95_ms", value: claimed.p95, windowSeconds: latencyWindowSeconds },
            { metric: "claim_p99_ms", value: claimed.p99, windowSeconds: latencyWindowSeconds },
          ] as const)
        : []),
      {
        metric: "enqueue_rate",
        value: (now.submitted - last.submitted) / seconds,
        windowSeconds: sampleEverySeconds,
      },
      {
        metric: "completion_rate",
        value: (now.completed - last.completed) / seconds,
        windowSeconds: sampleEverySeconds,
      },
      { metric: "queue_depth", value: Math.max(0, now.submitted - now.completed), windowSeconds: 0 },
    ];
    for (const sample of samples) say(sampleLine(dueAtMs, sample));
    last = now;
  }
}

async function readTables(databaseUrl: string): Promise<string[]> {
  const db = new pg.Client({ connectionString: databaseUrl });
  db.on("error", () => undefined);
  await db.connect();
  try {
    const { rows } = await db.query<{ name: string }>(tablesQuery, [quietTables]);
    return rows.map(({ name }) => name);
  } finally {
    await db.end();
  }
}
