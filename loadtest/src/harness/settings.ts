import { timedPayloadBytesMin } from "../latency/timed-payload.js";
import { UsageError } from "../options.js";

/** What the harness asks for, by variables that every subject reads. */
export interface HarnessSettings {
  readonly databaseUrl: string;
  /** `fixed`: `ratePerSecond` jobs; `depth-target`: up to `ratePerSecond`, while fewer than `targetDepth` wait. */
  readonly mode: "fixed" | "depth-target";
  readonly ratePerSecond: number;
  /** Jobs of one SubmitBatch. */
  readonly batchMax: number;
  /** How often jobs that are due are submitted. */
  readonly batchMs: number;
  readonly targetDepth: number;
  /** Handlers that run at once. */
  readonly workers: number;
  /** A job carries when it was submitted, which takes some bytes: fewer are not possible. */
  readonly payloadBytes: number;
  readonly workMs: number;
  readonly sampleEverySeconds: number;
}

/** @throws UsageError that names the variable, what was given and what is allowed */
export function readHarnessSettings(env: Readonly<Record<string, string | undefined>>): HarnessSettings {
  const databaseUrl = env.DATABASE_URL;
  if (!databaseUrl)
    throw new UsageError("DATABASE_URL must be set: the database that the ledger is made in.");
  const count = (name: string, fallback: number, least: number, most: number): number => {
    const given = env[name];
    const number = given === undefined || given === "" ? fallback : Number(given);
    if (!Number.isSafeInteger(number) || number < least || number > most)
      throw new UsageError(`${name} must be a whole number from ${least} to ${most}, not "${given}".`);
    return number;
  };
  const mode = env.PRODUCER_MODE || "fixed";
  if (mode !== "fixed" && mode !== "depth-target")
    throw new UsageError(`PRODUCER_MODE must be "fixed" or "depth-target", not "${mode}".`);
  return {
    databaseUrl,
    mode,
    ratePerSecond: count("PRODUCER_RATE", 800, 0, 1_000_000),
    batchMax: count("PRODUCER_BATCH_MAX", 128, 1, 10_000),
    batchMs: count("PRODUCER_BATCH_MS", 25, 1, 60_000),
    targetDepth: count("TARGET_DEPTH", 1_000, 0, 100_000_000),
    workers: count("WORKER_COUNT", 32, 1, 10_000),
    payloadBytes: Math.max(timedPayloadBytesMin, count("JOB_PAYLOAD_BYTES", 256, 0, 1 << 20)),
    workMs: count("JOB_WORK_MS", 1, 0, 3_600_000),
    sampleEverySeconds: count("SAMPLE_EVERY_S", 5, 1, 3_600),
  };
}
