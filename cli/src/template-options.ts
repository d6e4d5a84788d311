import type { JobSpec, Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Command } from "commander";
import { parseDurationMs } from "./arguments/duration.js";
import { collectLabel, type Labels } from "./arguments/label.js";
import { collectWords } from "./arguments/list.js";
import { decimalNumber, wholeNumber } from "./arguments/number.js";
import { readPayload } from "./arguments/payload.js";
import type { Io } from "./io.js";
import { jobSpec } from "./job-spec.js";
import { oneOf, PRIORITY_WORDS } from "./job-words.js";

export interface TemplateFlags {
  readonly kind: string;
  readonly payload?: string;
  readonly contentType?: string;
  readonly queue?: string;
  readonly product?: string;
  readonly priority?: Priority;
  readonly capability?: readonly string[];
  readonly label?: Labels;
  readonly source?: string;
  readonly fairnessKey?: string;
  readonly fairnessWeight?: number;
  readonly maxAttempts?: number;
  readonly initialBackoff?: number;
  readonly backoffFactor?: number;
  readonly maxBackoff?: number;
}

/** The options that say what jobs are made of which the hub submits by itself. */
export function withTemplate(command: Command): Command {
  return command
    .requiredOption("--kind <kind>", "which handler runs its jobs")
    .option("--payload <json>", "JSON, @file, or - for stdin; the same for all")
    .option("--content-type <type>", "media type of the payload, when it is not JSON")
    .option("--queue <queue>", "queue within the product")
    .option("--product <product>", "product that the work belongs to")
    .option("--priority <class>", Object.keys(PRIORITY_WORDS).join(", "), oneOf(PRIORITY_WORDS))
    .option("--capability <names>", "what a worker must offer; may be repeated", collectWords)
    .option("--label <key=value>", "for finding them again; may be repeated", collectLabel)
    .option("--source <name>", "what outside service its handler calls")
    .option("--fairness-key <key>", "whose share of the service they take")
    .option("--fairness-weight <number>", "share of that key, 1 to 1000", wholeNumber(1, 1_000))
    .option("--max-attempts <attempts>", "attempts in all, 1 to 1000", wholeNumber(1, 1_000))
    .option("--initial-backoff <duration>", "delay after the first failure", parseDurationMs)
    .option("--backoff-factor <number>", "growth of the delay per failure, 1 to 100", decimalNumber(1, 100))
    .option("--max-backoff <duration>", "bound of the delay", parseDurationMs);
}

export async function templateSpec(flags: TemplateFlags, io: Io): Promise<JobSpec> {
  const { kind, payload, contentType, capability, label, initialBackoff, maxBackoff } = flags;
  const { queue, product, priority, maxAttempts, backoffFactor } = flags;
  const { source, fairnessKey, fairnessWeight } = flags;
  const read = payload === undefined ? undefined : await readPayload(payload, contentType, io);
  return jobSpec(kind, read, {
    ...(queue === undefined ? {} : { queue }),
    ...(product === undefined ? {} : { product }),
    ...(priority === undefined ? {} : { priority }),
    ...(source === undefined ? {} : { source }),
    ...(fairnessKey === undefined ? {} : { fairnessKey }),
    ...(fairnessWeight === undefined ? {} : { fairnessWeight }),
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
    ...(backoffFactor === undefined ? {} : { backoffFactor }),
    ...(capability === undefined ? {} : { capabilities: capability }),
    ...(label === undefined ? {} : { labels: label }),
    ...(initialBackoff === undefined ? {} : { initialBackoffMs: initialBackoff }),
    ...(maxBackoff === undefined ? {} : { maxBackoffMs: maxBackoff }),
  });
}
