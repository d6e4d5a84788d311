import { join } from "node:path";
import { type ClientOptions, problemsOfAccess, readAccess } from "./connection-options.js";
import type { HubAccess } from "./grpc/hub-channel.js";
import type { LogEvent } from "./log.js";
import {
  count,
  formed,
  InvalidOptionsError,
  isRecord,
  listOf,
  type Problem,
  show,
  unknownFields,
} from "./option-check.js";
import type { Handler } from "./runner/job-context.js";
import type { ScoreWeights } from "./session/session-plan.js";
import type { WorkerState } from "./worker-state.js";

/** What a worker is started with. Only where its hubs are, `name` and `handlers` are required. */
export type WorkerOptions = ClientOptions & {
  /** Name for people, 1 to 128 characters. Also names the journal: two workers on a machine need two names. */
  readonly name: string;
  /** One handler for each kind of job that this worker runs. */
  readonly handlers: Readonly<Record<string, Handler>>;
  /** What this worker offers to jobs that ask for it. Default none. */
  readonly capabilities?: readonly string[];
  /** Only jobs of these products. Default all. */
  readonly products?: readonly string[];
  /** Only jobs of these queues. Default all. */
  readonly queues?: readonly string[];
  /**
   * By what this worker takes waiting jobs first, each -1,000 to 1,000: per minute of waiting, per step of priority, per
   * start so far, and for jobs that ask for capabilities. What is absent is as set for the product, or the hub's default.
   */
  readonly weights?: ScoreWeights;
  /** Handlers that run at once, 1 to 10,000. Default 16. */
  readonly concurrency?: number;
  /**
   * Leases held waiting beyond those, 0 to 50,000. Default: as many as `concurrency`, and where jobs are quick, as many
   * as end in 200 ms, up to 4,096.
   */
  readonly prefetch?: number;
  /** Payload and checkpoint bytes of all leases held, 1 MiB to 1 GiB. Default 64 MiB. */
  readonly heldBytesMax?: number;
  /**
   * Directory where results are kept until their verdict came, so that a crash does not run their jobs again. One
   * worker process per directory. `false`: none. Default ".holdfast/workers/<name>".
   */
  readonly journal?: string | false;
  /** Run the session on a thread of its own, so that a handler which blocks does not lose its leases. Default true. */
  readonly thread?: boolean;
  /** Time for running handlers when the worker drains, in ms, 0 to 24 h. Default 30,000. */
  readonly drainTimeoutMs?: number;
  /** Drain on SIGTERM and SIGINT; a second signal ends the process at once. Default true. */
  readonly handleSignals?: boolean;
  /** Gets every event worth knowing. Default: one short line each on stderr. */
  readonly log?: (event: LogEvent) => void;
  /** Called for every final verdict. */
  readonly onVerdict?: (verdict: ResultVerdict) => void;
  /** Called whenever the state of the connection changes. */
  readonly onSession?: (state: WorkerState) => void;
};

/** What became of one result (D5). */
export type ResultVerdict = {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly verdict: "committed" | "duplicate" | "stale" | "refused";
};

/** Options with every default filled in and every rule checked. */
export type CheckedOptions = {
  readonly access: HubAccess;
  readonly name: string;
  readonly handlers: ReadonlyMap<string, Handler>;
  readonly capabilities: readonly string[];
  readonly products: readonly string[];
  readonly queues: readonly string[];
  readonly weights: ScoreWeights | undefined;
  readonly concurrency: number;
  readonly prefetchMin: number;
  readonly prefetchMax: number;
  readonly heldBytesMax: number;
  /** Undefined: no journal. */
  readonly journal: string | undefined;
  readonly thread: boolean;
  readonly drainTimeoutMs: number;
  readonly handleSignals: boolean;
  readonly log: ((event: LogEvent) => void) | undefined;
  readonly onVerdict: ((verdict: ResultVerdict) => void) | undefined;
  readonly onSession: ((state: WorkerState) => void) | undefined;
};

const fields: ReadonlySet<string> = new Set<keyof WorkerOptions>([
  "address",
  "addresses",
  "apiKey",
  "tls",
  "name",
  "handlers",
  "capabilities",
  "products",
  "queues",
  "weights",
  "concurrency",
  "prefetch",
  "heldBytesMax",
  "journal",
  "thread",
  "drainTimeoutMs",
  "handleSignals",
  "log",
  "onVerdict",
  "onSession",
]);

const form = /^[a-z0-9][a-z0-9._-]{0,127}$/;
const formRule = "1 to 128 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit";
const kindsMax = 256;
const namesMax = 64;

/**
 * Checks options and fills in defaults.
 *
 * @throws InvalidOptionsError that names every field in error, what was given and what is allowed
 */
export function checkWorkerOptions(options: WorkerOptions, env: NodeJS.ProcessEnv): CheckedOptions {
  const problems: Problem[] = [];
  if (!isRecord(options))
    throw new InvalidOptionsError("startWorker", [
      { field: "options", rule: "an object", given: show(options) },
    ]);
  problems.push(...unknownFields(options, fields), ...problemsOfAccess(options, env));
  const { name } = options;
  if (typeof name !== "string" || name === "" || name.length > 128) {
    problems.push({ field: "name", rule: "a string of 1 to 128 characters", given: show(name) });
  }
  problems.push(...problemsOfHandlers(options.handlers));
  for (const field of ["capabilities", "products", "queues"] as const) {
    problems.push(...listOf(field, options[field], namesMax, form, formRule));
  }
  problems.push(
    ...problemsOfWeights(options.weights),
    ...count("concurrency", options.concurrency, 1, 10_000),
    ...count("prefetch", options.prefetch, 0, 50_000),
    ...count("heldBytesMax", options.heldBytesMax, 1 << 20, 1 << 30),
    ...count("drainTimeoutMs", options.drainTimeoutMs, 0, 86_400_000),
    ...formed(
      "journal",
      options.journal,
      (value) => value === false || (typeof value === "string" && value !== ""),
      "a directory, or false",
    ),
  );
  for (const field of ["thread", "handleSignals"] as const) {
    problems.push(...formed(field, options[field], (value) => typeof value === "boolean", "true or false"));
  }
  for (const field of ["log", "onVerdict", "onSession"] as const) {
    problems.push(...formed(field, options[field], (value) => typeof value === "function", "a function"));
  }
  if (problems.length > 0) throw new InvalidOptionsError("startWorker", problems);

  const concurrency = options.concurrency ?? 16;
  return {
    access: readAccess(options, env),
    name,
    handlers: new Map(Object.entries(options.handlers)),
    capabilities: options.capabilities ?? [],
    products: options.products ?? [],
    queues: options.queues ?? [],
    weights: options.weights,
    concurrency,
    prefetchMin: options.prefetch ?? concurrency,
    prefetchMax: options.prefetch ?? Math.max(concurrency, quickPrefetchMax),
    heldBytesMax: options.heldBytesMax ?? 64 << 20,
    journal: journalDirectory(options.journal, name),
    thread: options.thread ?? true,
    drainTimeoutMs: options.drainTimeoutMs ?? 30_000,
    handleSignals: options.handleSignals ?? true,
    log: options.log,
    onVerdict: options.onVerdict,
    onSession: options.onSession,
  };
}

/** Waiting leases of a worker whose jobs are quick. */
const quickPrefetchMax = 4_096;

const weightNames: readonly string[] = ["age", "priority", "retries", "capabilities"];

function problemsOfWeights(weights: unknown): Problem[] {
  if (weights === undefined) return [];
  const rule = "an object with some of age, priority, retries and capabilities, each from -1000 to 1000";
  const isGood =
    isRecord(weights) &&
    Object.entries(weights).every(
      ([name, weight]) =>
        weightNames.includes(name) && typeof weight === "number" && Math.abs(weight) <= 1_000,
    );
  return isGood ? [] : [{ field: "weights", rule, given: show(weights) }];
}

function problemsOfHandlers(handlers: unknown): Problem[] {
  const rule = `an object with 1 to ${kindsMax} functions, one for each kind of job`;
  if (!isRecord(handlers)) return [{ field: "handlers", rule, given: show(handlers) }];
  const entries = Object.entries(handlers);
  if (entries.length === 0 || entries.length > kindsMax) {
    return [{ field: "handlers", rule, given: `${entries.length} entries` }];
  }
  return entries.flatMap(([kind, handler]) => [
    ...(form.test(kind)
      ? []
      : [{ field: `handlers[${show(kind)}]`, rule: `a kind of ${formRule}`, given: show(kind) }]),
    ...formed(`handlers[${show(kind)}]`, handler, (value) => typeof value === "function", "a function", true),
  ]);
}

function journalDirectory(journal: string | false | undefined, name: string): string | undefined {
  if (journal === false) return undefined;
  return journal ?? join(".holdfast", "workers", encodeURIComponent(name));
}
