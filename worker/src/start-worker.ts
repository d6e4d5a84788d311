import { HubConnection } from "./client/hub-connection.js";
import { HoldfastError } from "./grpc/holdfast-error.js";
import type { JournalDisk } from "./journal/journal-disk.js";
import { JournalLockedError, lockJournal } from "./journal/journal-lock.js";
import { type LogEvent, logToStderr } from "./log.js";
import { InvalidOptionsError } from "./option-check.js";
import type { SessionFailure, ToRunner } from "./port.js";
import { JobRunner } from "./runner/job-runner.js";
import { shuffled } from "./session/address-ring.js";
import { defaultTuning, type SessionPlan, type SessionTuning } from "./session/session-plan.js";
import { openLocalSession, openThreadSession } from "./session-link.js";
import { HubProducer } from "./signals/producer.js";
import { onStopSignal } from "./stop-signals.js";
import { thrownText } from "./thrown-text.js";
import { readVerdicts } from "./verdict-hook.js";
import { type CheckedOptions, checkWorkerOptions, type WorkerOptions } from "./worker-options.js";
import type { WorkerState } from "./worker-state.js";

const signalTimeoutMs = 30_000;

/** A worker that is running. */
export type RunningWorker = {
  /** Where its connection is. */
  state(): WorkerState;
  /**
   * Resolves when the worker has drained and closed. Rejects with a HoldfastError when the hub refuses it for good:
   * a bad key, a kind that the key does not allow, a version that the hub does not speak.
   */
  readonly done: Promise<void>;
  /** Drains and closes; resolves when that is done. May be called more than once. */
  stop(): Promise<void>;
  stats(): WorkerStats;
};

/** Counts since the start. Only verdicts say what was achieved: a handler that returned is not a job that completed. */
export type WorkerStats = {
  /** Results that the hub wrote, failures among them. */
  readonly committed: number;
  /** Results that the hub had written before. */
  readonly duplicate: number;
  /** Results that came too late: the job had been taken away. */
  readonly stale: number;
  /** Results that the hub would not have as they were. */
  readonly refused: number;
  /** Attempts that failed here. */
  readonly failed: number;
  /** Handlers running now. */
  readonly running: number;
  /** Leases waiting for a handler now. */
  readonly waiting: number;
};

/**
 * Starts a worker: it attaches to a hub, runs jobs, and reports them until it is stopped. It comes back by itself from
 * lost connections and restarted hubs.
 *
 * @throws InvalidOptionsError when an option is wrong; JournalLockedError when another worker uses the journal
 */
export function startWorker(options: WorkerOptions): RunningWorker {
  const order = (addresses: readonly string[]) => shuffled(addresses, Math.random);
  return launchWorker(options, { tuning: defaultTuning, disk: undefined, order });
}

/** The same with figures, a disk and an order of hubs for tests; the disk only without a thread. */
export function launchWorker(options: WorkerOptions, { tuning, disk, order }: Launch): RunningWorker {
  const checked = checkWorkerOptions(options, process.env);
  const log = checked.log ?? logToStderr(checked.name);
  const unlock = checked.journal === undefined ? () => {} : takeJournal(checked.journal);
  const access = { ...checked.access, addresses: order(checked.access.addresses) };
  const plan = sessionPlan({ ...checked, access }, tuning);
  const link = checked.thread ? openThreadSession(plan) : openLocalSession(plan, disk);
  // Signals go by a connection of their own, which is made when a handler first publishes.
  const signals = new HubConnection(plan.access, signalTimeoutMs);
  const runner = new JobRunner(
    checked.handlers,
    checked.concurrency,
    link.port,
    (channel, fencingToken) =>
      new HubProducer(signals, channel, { name: "job" }, { jobId: channel.jobId, fencingToken }),
  );
  const verdicts = { committed: 0, duplicate: 0, stale: 0, refused: 0 };
  let state: WorkerState = { name: "connecting", address: plan.access.addresses[0] as string };

  const hook = <Value>(name: string, call: ((value: Value) => void) | undefined, value: Value) =>
    callSafely(
      () => call?.(value),
      (error) => {
        const message = `${name} threw: ${thrownText(() => error)}`;
        logSafely({ level: "error", event: "hook-failed", message });
      },
    );
  // An event that cannot be logged is no reason to stop working.
  const logSafely = (event: LogEvent) =>
    callSafely(
      () => log(event),
      () => {},
    );

  const onMessage = (message: Exclude<ToRunner, { type: "closed" }>) => {
    switch (message.type) {
      case "leases":
        return runner.receive(message.bytes, message.firstRef, message.places);
      case "lost":
        return runner.lost(message.refs, message.cause);
      case "doubtful":
        return runner.doubtful(message.refs);
      case "revoked":
        return runner.revoked(message.ref, { cause: message.cause, message: message.message });
      case "checkpoint-saved":
        return runner.checkpointSaved(message.ref, message.sequence, message.verdict, message.refusal);
      case "effect-verdict":
        return runner.effectAnswered(message.ref, message.verdict);
      case "wait-verdict":
        return runner.waitAnswered(message.ref, message.verdict);
      case "suspended":
        return runner.suspended(message.ref);
      case "verdicts":
        verdicts.committed += message.counts.committed;
        verdicts.duplicate += message.counts.duplicate;
        verdicts.stale += message.counts.stale;
        verdicts.refused += message.counts.refused;
        if (message.bytes === undefined) return;
        for (const verdict of readVerdicts(message.bytes)) hook("onVerdict", checked.onVerdict, verdict);
        return;
      case "attached":
        return runner.setLimits(message);
      case "state":
        state = message.state;
        return hook("onSession", checked.onSession, state);
      case "log":
        return logSafely(message.event);
    }
  };

  const stop = () => runner.drain(checked.drainTimeoutMs);
  const stopListening = checked.handleSignals
    ? onStopSignal({
        first: (signal) => {
          const { running } = runner.counts;
          const message = `${signal}: draining, ${running} handlers may finish; send it again to stop at once`;
          logSafely({ level: "info", event: "draining", message });
          stop();
        },
        second: (signal) =>
          logSafely({
            level: "error",
            event: "closed",
            message: `${signal} again: stopped without draining`,
          }),
      })
    : () => {};

  const done = new Promise<void>((resolve, reject) => {
    link.port.onMessage((message) => {
      if (message.type !== "closed") return onMessage(message);
      runner.close();
      signals.close();
      state = { name: "closed" };
      void link.ended.then(() => {
        stopListening();
        unlock();
        if (message.failure === undefined) resolve();
        else reject(failureError(message.failure));
      });
    });
  });

  return {
    state: () => state,
    done,
    stop: () => {
      stop();
      return done;
    },
    stats: () => ({ ...verdicts, ...runner.counts }),
  };
}

type Launch = {
  readonly tuning: SessionTuning;
  readonly disk: JournalDisk | undefined;
  /** In which order this worker goes round its hubs. */
  readonly order: (addresses: readonly string[]) => readonly string[];
};

/** Calls what the application gave; that may be an async function, which throws later. */
function callSafely(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const returned = call();
    if (returned instanceof Promise) returned.catch(failed);
  } catch (error) {
    failed(error);
  }
}

function takeJournal(directory: string): () => void {
  try {
    return lockJournal(directory);
  } catch (error) {
    if (error instanceof JournalLockedError) throw error;
    const given = `"${directory}" (${error instanceof Error ? error.message : error})`;
    throw new InvalidOptionsError("startWorker", [
      { field: "journal", rule: "a directory that can be written", given },
    ]);
  }
}

function sessionPlan(checked: CheckedOptions, tuning: SessionTuning): SessionPlan {
  const { access, name, handlers, capabilities, products, queues, weights } = checked;
  return {
    access,
    worker: { name, kinds: [...handlers.keys()], capabilities, products, queues, weights },
    heldJobsMin: checked.concurrency + checked.prefetchMin,
    heldJobsMax: checked.concurrency + checked.prefetchMax,
    heldBytesMax: checked.heldBytesMax,
    journalDirectory: checked.journal,
    wantsVerdicts: checked.onVerdict !== undefined,
    tuning,
  };
}

function failureError(failure: SessionFailure): Error {
  if (failure.kind === "broken") return new Error(`the worker's session broke: ${failure.message}`);
  return new HoldfastError(failure.failure);
}
