import type { FailureClass } from "@holdfast/gen/holdfast/v1/job_pb";
import type { SubmitResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { collectLabel, type Labels } from "../arguments/label.js";
import { collectWords } from "../arguments/list.js";
import { parseMicroUsd } from "../arguments/money.js";
import { decimalNumber, wholeNumber } from "../arguments/number.js";
import { readPayload } from "../arguments/payload.js";
import { parseTime } from "../arguments/time.js";
import { parseWindow } from "../arguments/window.js";
import { awaitJobs } from "../await-jobs.js";
import { usageError } from "../cli-error.js";
import { FAILURE_CLASS_WORDS } from "../dead-text.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { jobJson } from "../job-json.js";
import { type JobFields, jobSpec } from "../job-spec.js";
import { eventText, jobText } from "../job-text.js";
import {
  DISCONNECT_POLICY_WORDS,
  IN_FLIGHT_POLICY_WORDS,
  oneOf,
  PRIORITY_WORDS,
  UNIQUE_POLICY_WORDS,
} from "../job-words.js";
import { requireJob } from "./job-answer.js";
import { replacedJson, submitBatch } from "./submit-batch.js";
import { exitCodeOf, GIVE_UP_AFTER_MS } from "./watch.js";

const AFTER_HELP = `
Answered once the job is durable. With an idempotency key, submitting again returns the first job.
A batch is a file of one JSON object per line, with the fields kind, payload, queue, product, priority,
capabilities, labels, source, fairnessKey, fairnessWeight, inFlightKey, inFlightMax, inFlightPolicy,
estimateCost (a text, like "0.25"), estimateTokens, idempotencyKey, uniqueKey, uniquePolicy, runAt, startBy,
deadline, maxAttempts, initialBackoff, backoffFactor, maxBackoff, permanentCodes, permanentClasses, after,
afterEnded, disconnectPolicy, disconnectLimit and window; options of the command line are the defaults of
every line. A parent with its children is submitted by \`holdfast run submit\`.

Examples:
  $ holdfast submit greet --payload '{"name":"Ada"}' --wait
  $ holdfast submit report.render --payload @report.json --priority high --label customer=42
  $ holdfast submit cleanup --run-at +10m --deadline +1h --idempotency-key cleanup-2027-01-31
  $ holdfast submit report.send --after 0198c7f0-… --after-ended cleanup-2027-01-31
  $ generate-jobs | holdfast submit --batch - --label run=7 --json | jq -r .jobId`;

interface SubmitFlags extends Omit<JobFields, "capabilities" | "labels"> {
  readonly payload?: string;
  readonly contentType?: string;
  readonly capability?: readonly string[];
  readonly label?: Labels;
  readonly permanentCode?: readonly string[];
  readonly permanentClass?: readonly FailureClass[];
  readonly initialBackoff?: number;
  readonly maxBackoff?: number;
  readonly disconnectLimit?: number;
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly batch?: string;
}

export function addSubmitCommand(program: Command, cli: Cli): void {
  program
    .command("submit")
    .description("submit a job, or a batch of them")
    .argument("[kind]", "which handler runs it")
    .option("--payload <json>", "JSON, @file, or - for stdin")
    .option("--content-type <type>", "media type of the payload, when it is not JSON")
    .option("--queue <queue>", "queue within the product")
    .option("--product <product>", "product that the work belongs to")
    .option("--priority <class>", Object.keys(PRIORITY_WORDS).join(", "), oneOf(PRIORITY_WORDS))
    .option("--capability <names>", "what a worker must offer; may be repeated", collectWords)
    .option("--label <key=value>", "for finding it again; may be repeated", collectLabel)
    .option("--source <name>", "outside service that the handler calls")
    .option("--fairness-key <text>", "whose share of the service it takes, such as a customer")
    .option(
      "--fairness-weight <weight>",
      "share of the key relative to others', 1 to 1000",
      wholeNumber(1, 1_000),
    )
    .option("--in-flight-key <text>", "jobs that share a number of places, such as a customer's")
    .option("--in-flight-max <jobs>", "so many of the key at once", wholeNumber(1, 1_000_000))
    .option(
      "--in-flight-policy <policy>",
      `when there is no place: ${Object.keys(IN_FLIGHT_POLICY_WORDS).join(", ")}`,
      oneOf(IN_FLIGHT_POLICY_WORDS),
    )
    .option("--estimate-cost <usd>", "what an attempt will cost, in US dollars", parseMicroUsd)
    .option("--estimate-tokens <tokens>", "tokens that an attempt will use", wholeNumber(1, 1e15))
    .option("--idempotency-key <text>", "submitting again with it returns the first job")
    .option("--unique-key <text>", "at most one open job has it")
    .option(
      "--unique-policy <policy>",
      `when an open job has it: ${Object.keys(UNIQUE_POLICY_WORDS).join(", ")} (if not started)`,
      oneOf(UNIQUE_POLICY_WORDS),
    )
    .option("--run-at <time>", "not before: 2027-01-31T14:00:00Z, or +10m", (text) => parseTime(text))
    .option(
      "--start-by <time>",
      "must have been given to a worker by: 2027-01-31T14:00:00Z, or +1h",
      (text) => parseTime(text),
    )
    .option("--deadline <time>", "must have ended by: 2027-01-31T14:00:00Z, or +1h", (text) =>
      parseTime(text),
    )
    .option("--window <source,from,to>", "event time that it is work for, for watermarks", parseWindow)
    .option("--after <jobs>", "ids or idempotency keys of jobs that must succeed before", collectWords)
    .option("--after-ended <jobs>", "the same, but they only must have ended", collectWords)
    .option("--max-attempts <attempts>", "attempts in all, 1 to 1000", wholeNumber(1, 1_000))
    .option("--initial-backoff <duration>", "delay after the first failure", parseDurationMs)
    .option("--backoff-factor <number>", "growth of the delay per failure, 1 to 100", decimalNumber(1, 100))
    .option("--max-backoff <duration>", "bound of the delay", parseDurationMs)
    .option(
      "--permanent-code <codes>",
      "codes of failures that are not retried; may be repeated",
      collectWords,
    )
    .option(
      "--permanent-class <classes>",
      "classes of failures that are not retried, such as parse-error",
      collectClasses,
    )
    .option(
      "--disconnect-policy <policy>",
      `of a worker that lost the hub: ${Object.keys(DISCONNECT_POLICY_WORDS).join(", ")}`,
      oneOf(DISCONNECT_POLICY_WORDS),
    )
    .option("--disconnect-limit <duration>", "how long finish-and-report may go on", parseDurationMs)
    .option("--wait", "wait until it has ended; exit code 7 unless it succeeded")
    .option(
      "--timeout <duration>",
      "with --wait: stop waiting after this time (exit code 9)",
      parseDurationMs,
    )
    .option("--batch <file>", "submit one job per line of a file, or of - for stdin")
    .addHelpText("after", AFTER_HELP)
    .action((kind: string | undefined, flags: SubmitFlags, command: Command) =>
      perform(cli, command, (invocation) => {
        if (flags.timeout !== undefined && flags.wait !== true) {
          throw usageError("--timeout is for --wait.", "Add --wait, or leave --timeout out.");
        }
        if (flags.uniquePolicy !== undefined && flags.uniqueKey === undefined && flags.batch === undefined) {
          throw usageError("--unique-policy is for --unique-key.", "Add --unique-key TEXT.");
        }
        if (
          flags.fairnessWeight !== undefined &&
          flags.fairnessKey === undefined &&
          flags.batch === undefined
        ) {
          throw usageError("--fairness-weight is for --fairness-key.", "Add --fairness-key TEXT.");
        }
        if (
          (flags.inFlightMax ?? flags.inFlightPolicy) !== undefined &&
          flags.inFlightKey === undefined &&
          flags.batch === undefined
        ) {
          throw usageError("--in-flight-max and --in-flight-policy are for --in-flight-key.", "Add that.");
        }
        return flags.batch === undefined
          ? submitOne(kind, flags, invocation)
          : submitBatch(flags.batch, kind, batchDefaults(flags), invocation);
      }),
    );
}

async function submitOne(
  kind: string | undefined,
  flags: SubmitFlags,
  invocation: Invocation,
): Promise<ExitCode> {
  const { io, output } = invocation;
  if (kind === undefined) {
    throw usageError(
      "The kind of the job is missing.",
      "Write it first: holdfast submit greet --payload '{}'.",
    );
  }
  if (flags.payload === undefined && flags.contentType !== undefined) {
    throw usageError("--content-type is for --payload.", "Add --payload, or leave --content-type out.");
  }
  const payload =
    flags.payload === undefined ? undefined : await readPayload(flags.payload, flags.contentType, io);
  const connection = invocation.connection();
  const answer = await connection.jobs.submit({ job: jobSpec(kind, payload, jobFields(flags)) });
  const { jobId, existing } = answer;
  const submitted = { jobId, existing, ...replacedJson(answer) };
  const remark = remarkOf(answer, flags);
  if (flags.wait !== true) {
    output.document(submitted, () => `${jobId}${remark}`);
    return EXIT.ok;
  }
  output.remark(`Waiting for ${jobId}${remark}.`);
  const states = await awaitJobs(connection, [jobId], {
    timeoutMs: flags.timeout,
    giveUpAfterMs: GIVE_UP_AFTER_MS,
    wasReached: true,
    output,
    onUpdate: ({ update }) => {
      if (update.case === "event") {
        output.remark(eventText(update.value, output.paint));
      }
    },
  });
  const job = requireJob((await connection.jobs.get({ jobId })).job);
  output.document({ ...submitted, job: jobJson(job) }, () => jobText(job, io.nowMs(), output.paint));
  return exitCodeOf(states.values());
}

function remarkOf({ existing, replacedJobId }: SubmitResponse, flags: SubmitFlags): string {
  if (replacedJobId !== "") return ` (in place of ${replacedJobId})`;
  if (!existing) return "";
  return flags.uniqueKey === undefined
    ? " (submitted before with this idempotency key)"
    : " (open already with this unique key, or submitted before)";
}

/** What the options say about every line; those that can only be meant for one job are refused. */
function batchDefaults(flags: SubmitFlags): JobFields {
  const single = ["payload", "contentType", "idempotencyKey", "uniqueKey", "window", "wait"] as const;
  const wrong = single.find((flag) => flags[flag] !== undefined);
  if (wrong !== undefined) {
    const option = wrong.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw usageError(
      `--${option} is for one job, not for a batch.`,
      wrong === "wait" ? "Follow the jobs with `holdfast watch`." : "Write it into the lines.",
    );
  }
  return jobFields(flags);
}

function collectClasses(text: string, earlier: readonly FailureClass[] = []): readonly FailureClass[] {
  return [...earlier, ...collectWords(text).map(oneOf(FAILURE_CLASS_WORDS))];
}

function jobFields(flags: SubmitFlags): JobFields {
  const { capability, label, initialBackoff, maxBackoff, disconnectLimit, ...more } = flags;
  const { permanentCode, permanentClass, ...fields } = more;
  return {
    ...fields,
    ...(capability === undefined ? {} : { capabilities: capability }),
    ...(label === undefined ? {} : { labels: label }),
    ...(permanentCode === undefined ? {} : { permanentCodes: permanentCode }),
    ...(permanentClass === undefined ? {} : { permanentClasses: permanentClass }),
    ...(initialBackoff === undefined ? {} : { initialBackoffMs: initialBackoff }),
    ...(maxBackoff === undefined ? {} : { maxBackoffMs: maxBackoff }),
    ...(disconnectLimit === undefined ? {} : { disconnectLimitMs: disconnectLimit }),
  };
}
