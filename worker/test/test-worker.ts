import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LostReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { onTestFinished } from "vitest";
import type { JournalDisk } from "../src/journal/journal-disk.js";
import type { LogEvent } from "../src/log.js";
import { defaultTuning, type SessionTuning } from "../src/session/session-plan.js";
import { launchWorker, type RunningWorker } from "../src/start-worker.js";
import type { WorkerOptions } from "../src/worker-options.js";
import type { WorkerState } from "../src/worker-state.js";
import { type Script, ScriptedHub, until } from "./scripted-hub.js";

/** Figures for tests: short delays everywhere. */
export const testTuning: SessionTuning = {
  ...defaultTuning,
  backoff: { firstMs: 10, maxMs: 100, resetAfterMs: 30_000 },
  welcomeWithinMs: 1_000,
  verdictsWithinMs: 1_000,
  goodbyeWithinMs: 1_000,
  journalRetryMs: 20,
};

export type TestWorker = RunningWorker & { readonly events: LogEvent[]; readonly states: WorkerState[] };

/** A hub that is stopped with the test. */
export async function testHub(script: Partial<Script> = {}): Promise<ScriptedHub> {
  const hub = await ScriptedHub.start(script);
  onTestFinished(() => hub.stop());
  return hub;
}

/** A directory that is gone with the test. */
export function testDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-worker-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A worker without thread and journal, that goes round its hubs as they are listed; stopped with the test. */
export function testWorker(
  options: Partial<WorkerOptions>,
  {
    tuning = {},
    disk,
    order = (addresses) => addresses,
  }: {
    tuning?: Partial<SessionTuning>;
    disk?: JournalDisk;
    order?: (addresses: readonly string[]) => readonly string[];
  } = {},
): TestWorker {
  const events: LogEvent[] = [];
  const states: WorkerState[] = [];
  const worker = launchWorker(
    {
      name: "test",
      handlers: { work: () => {} },
      journal: false,
      thread: false,
      handleSignals: false,
      drainTimeoutMs: 100,
      log: (event) => events.push(event),
      onSession: (state) => states.push(state),
      ...options,
    },
    { tuning: { ...testTuning, ...tuning }, disk, order },
  );
  worker.done.catch(() => {});
  onTestFinished(async () => {
    await worker.stop().catch(() => {});
  });
  return { ...worker, events, states };
}

/** A handler that ends when the test says so; it notes when its signal is aborted, and goes on. */
export function gate() {
  let open: (value: string) => void = () => {};
  const opened = new Promise<string>((resolve) => {
    open = resolve;
  });
  const aborts: unknown[] = [];
  const handler = ({ signal }: { signal: AbortSignal }) => {
    signal.addEventListener("abort", () => aborts.push(signal.reason));
    return opened;
  };
  return { open: (value = "done") => open(value), opened, aborts, handler };
}

/** A handler that ends when its signal is aborted, and tells with what. */
export function abortable() {
  const reasons: unknown[] = [];
  const handler = ({ signal }: { signal: AbortSignal }) =>
    new Promise<string>((resolve) => {
      signal.addEventListener("abort", () => {
        reasons.push(signal.reason);
        resolve("aborted");
      });
    });
  return { reasons, handler };
}

/** A worker with one job running on a hub of its own, until the gate opens. */
export async function workerAtWork(options: Partial<WorkerOptions> = {}) {
  const hub = await testHub();
  const running = gate();
  const worker = testWorker({ address: hub.address, handlers: { work: running.handler }, ...options });
  const stream = await hub.live();
  stream.lease({ jobId: "running" });
  await until(() => worker.stats().running === 1, "the handler");
  return { hub, running, worker, stream };
}

/** Answers a hello with another session: the one before has expired, and its leases are lost. */
export const inAnotherSession: Script["welcome"] = ({ held }) => ({
  sessionId: "another",
  held: held.map(({ jobId, fencingToken }) => ({
    jobId,
    fencingToken,
    kept: false,
    lostReason: LostReason.SESSION_EXPIRED,
  })),
});
