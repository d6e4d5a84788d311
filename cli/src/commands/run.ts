import { readFile } from "node:fs/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { FailurePolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { usageError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import type { Io } from "../io.js";
import { FAILURE_POLICY_WORDS, oneOf } from "../job-words.js";
import { readAll } from "../read-stream.js";
import { parseRunFile } from "../run-file.js";

const AFTER_HELP = `
The file is a JSON document, or one job per line with the parent first. Jobs have the fields of a batch
(holdfast submit --help), children also "key", by which "after" and "afterEnded" name them, and any of them
"compensation". With an idempotencyKey of the parent, submitting the file again returns the first run.

  {"parent": {"kind": "sum", "idempotencyKey": "sum-2027-01-31"},
   "children": [{"kind": "fetch", "key": "fetch"},
                {"kind": "part", "payload": {"part": 1}, "after": ["fetch"]}],
   "failurePolicy": "wait-for-all"}

Examples:
  $ holdfast run submit run.json
  $ generate-run | holdfast run submit - --failure-policy continue
  $ holdfast dag $(holdfast run submit run.json --json | jq -r .runId) --wait`;

interface SubmitRunFlags {
  readonly failurePolicy?: FailurePolicy;
  readonly stopGrace?: number;
}

export function addRunCommand(program: Command, cli: Cli): void {
  const run = program.command("run").description("jobs that wait for each other");
  run
    .command("submit")
    .description("submit a parent with its children, all or nothing, from a file")
    .argument("<file>", "JSON, or one JSON object per line; - for stdin")
    .option(
      "--failure-policy <policy>",
      `when a child does not succeed: ${Object.keys(FAILURE_POLICY_WORDS).join(", ")}`,
      oneOf(FAILURE_POLICY_WORDS),
    )
    .option(
      "--stop-grace <duration>",
      "time for running children to stop when the run fails",
      parseDurationMs,
    )
    .addHelpText("after", AFTER_HELP)
    .action((file: string, flags: SubmitRunFlags, command: Command) =>
      perform(cli, command, (invocation) => submitRun(file, flags, invocation)),
    );
}

async function submitRun(
  file: string,
  flags: SubmitRunFlags,
  { io, output, connection }: Invocation,
): Promise<ExitCode> {
  const run = parseRunFile(await contentOf(file, io));
  const stopGraceMs = flags.stopGrace ?? run.stopGraceMs;
  const { runId, childIds, existing } = await connection().jobs.submitRun({
    parent: run.parent,
    children: run.children.map(({ spec }) => spec),
    failurePolicy: flags.failurePolicy ?? run.failurePolicy ?? 0,
    ...(stopGraceMs === undefined ? {} : { stopGrace: durationFromMs(stopGraceMs) }),
  });
  const children = childIds.map((jobId, at) => ({ jobId, key: run.children[at]?.key ?? "" }));
  output.document({ runId, existing, children }, () =>
    [
      `${output.paint.strong(runId)}${existing ? "  submitted before with this idempotency key" : ""}`,
      ...children.map(({ jobId, key }) => `└ ${jobId}${key === "" ? "" : `  ${key}`}`),
    ].join("\n"),
  );
  return EXIT.ok;
}

async function contentOf(file: string, io: Io): Promise<string> {
  if (file === "-") return Buffer.from(await readAll(io.stdin)).toString();
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw usageError(`${file} cannot be read: ${(error as Error).message}.`, "Name a file, or - for stdin.");
  }
}
