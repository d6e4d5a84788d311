// What jobs cost that wait for a signal: nothing of the hub but rows, and how fast they are woken when it comes.
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { defineBenchmark } from "../benchmark.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { OneSignalParams, OneSignalSays } from "../programs/one-signal.js";
import type { WaiterParams, WaiterSays } from "../programs/waiting-worker.js";
import type { Stage } from "../stage.js";
import type { Program } from "../start-program.js";
import { spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";
import { shareOf, usageAfter } from "../usage.js";

const database = "waits";
const usageEveryMs = 250;
const settleMs = 5_000;
const upWithinMs = 60_000;
/** For each thousand jobs, on a machine that is slow and shared. */
const withinMsPerThousand = 20_000;
const lookEveryMs = 20;
const channel = { owner: "bench", name: "go" } as const;
const countSuspended = "select count(*)::integer as count from holdfast.suspended";

interface Waits {
  readonly suspendedPerSecond: number;
  readonly emptyResidentBytes: number;
  readonly waitingResidentBytes: number;
  readonly freshResidentBytes: number;
  readonly emptyCoreShare: number;
  readonly waitingCoreShare: number;
  readonly publishMs: number;
  readonly wokenPerSecond: number;
  readonly endedPerSecond: number;
}

export const waits = defineBenchmark({
  name: "waits",
  summary: "many jobs that wait for one signal: what the hub spends on them, and how fast they are woken",
  options: {
    jobs: { unit: "count", default: 100_000, range: [1, 1_000_000], help: "jobs that wait" },
    concurrency: { unit: "count", default: 500, range: [1, 10_000], help: "seats of the one worker" },
    seconds: { unit: "seconds", default: 20, range: [1, 3_600], help: "measured while all wait" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that it is done" },
  },
  run: async (stage, { jobs, concurrency, seconds, rounds }) => {
    const measured: Waits[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      const one = await waitOnce(stage, round, jobs, concurrency, seconds);
      stage.log(`round ${round} of ${rounds}: ${JSON.stringify(one)}`);
      measured.push(one);
    }
    return {
      table: waitsTable(measured),
      notes: [
        `${formatCount(jobs)} jobs on one worker of ${concurrency} seats, and one signal that all of them wait for.`,
        "Woken: ready in the ledger. Ended: granted again, answered, and reported, by the one worker.",
        "Memory and processor time are those of the hub's process; PostgreSQL is not in them.",
      ],
      measured: { rounds: measured },
    };
  },
});

async function waitOnce(
  stage: Stage,
  round: number,
  jobs: number,
  concurrency: number,
  seconds: number,
): Promise<Waits> {
  const databaseUrl = await stage.postgres.createDatabase(database);
  const label = `waits_${round}`;
  const hub = stage.start<HubParams, HubSays>("hub", { databaseUrl, usageEveryMs }, label);
  const started: Program<unknown>[] = [];
  const withinMs = upWithinMs + (jobs / 1_000) * withinMsPerThousand;
  try {
    const { grpcAddress: address } = await hub.said("up", upWithinMs);
    await delay(settleMs);
    const beforeEmpty = await hub.said("usage", upWithinMs);
    const empty = await usageAfter(hub, settleMs);
    const submittedAtMs = performance.now();
    const params = { address, journal: join(stage.scratchDir, label), jobs, concurrency };
    const waiter = stage.start<WaiterParams, WaiterSays>("waiting-worker", params, label);
    started.push(waiter);
    await untilSuspended(stage, waiter, (count) => count === jobs, withinMs);
    const suspendedMs = performance.now() - submittedAtMs;
    const from = await usageAfter(hub, settleMs);
    const to = await usageAfter(hub, seconds * 1_000);
    // What the first one remembers of the jobs' coming and going is not what waiting costs.
    const other = stage.start<HubParams, HubSays>("hub", { databaseUrl, usageEveryMs }, `${label}_other`);
    await other.said("up", upWithinMs);
    const fresh = await usageAfter(other, settleMs);
    await other.stop();

    const signalledAtMs = performance.now();
    const signal = stage.start<OneSignalParams, OneSignalSays>("one-signal", { address, channel }, label);
    started.push(signal);
    const { tookMs } = await signal.said("published", withinMs);
    const publishedAtMs = Math.max(signalledAtMs, performance.now() - tookMs);
    await untilSuspended(stage, waiter, (count) => count === 0, withinMs);
    const wokenMs = performance.now() - publishedAtMs;
    await waiter.said("ended", withinMs);
    const endedMs = performance.now() - publishedAtMs;
    return {
      suspendedPerSecond: (jobs / suspendedMs) * 1_000,
      emptyResidentBytes: empty.residentBytes,
      waitingResidentBytes: to.residentBytes,
      freshResidentBytes: fresh.residentBytes,
      emptyCoreShare: shareOf(beforeEmpty, empty),
      waitingCoreShare: shareOf(from, to),
      publishMs: tookMs,
      wokenPerSecond: (jobs / wokenMs) * 1_000,
      endedPerSecond: (jobs / endedMs) * 1_000,
    };
  } finally {
    await Promise.all(started.map((program) => program.stop()));
    await hub.stop();
    await stage.postgres.dropDatabase(database);
  }
}

async function untilSuspended(
  stage: Stage,
  waiter: Program<unknown>,
  isEnough: (count: number) => boolean,
  withinMs: number,
): Promise<void> {
  const giveUpAtMs = performance.now() + withinMs;
  while (!isEnough(await stage.postgres.count(database, countSuspended))) {
    waiter.assertRunning();
    if (performance.now() > giveUpAtMs) throw new Error("The jobs do not wait, or do not wake.");
    await delay(lookEveryMs);
  }
}

function waitsTable(measured: readonly Waits[]): Table {
  const right = "right" as const;
  const row = (title: string, field: keyof Waits, format: (value: number) => string) => {
    const { median, min, max } = spreadOf(measured.map((one) => one[field]));
    return [title, format(median), `${format(min)} – ${format(max)}`];
  };
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const rate = (perSecond: number) => `${formatCount(Math.round(perSecond))}/s`;
  return {
    columns: [
      { title: "", align: "left" },
      { title: "median", align: right },
      { title: "min – max", align: right },
    ],
    rows: [
      row("submitted, granted and suspended", "suspendedPerSecond", rate),
      row("memory of the hub before", "emptyResidentBytes", megabytes),
      row("memory while all wait", "waitingResidentBytes", megabytes),
      row("memory of a hub that starts meanwhile", "freshResidentBytes", megabytes),
      row("processor before, of a core", "emptyCoreShare", percent),
      row("processor while all wait", "waitingCoreShare", percent),
      row("the publish that wakes them", "publishMs", (ms) => `${ms.toFixed(1)} ms`),
      row("woken", "wokenPerSecond", rate),
      row("ended", "endedPerSecond", rate),
    ],
  };
}
