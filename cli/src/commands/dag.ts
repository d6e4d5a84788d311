import { toJson } from "@bufbuild/protobuf";
import { DagNodeSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { awaitJobs } from "../await-jobs.js";
import { usageError } from "../cli-error.js";
import type { Connection } from "../connection.js";
import { type Dag, dagText } from "../dag-text.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { FOLLOWED_JOBS_MAX } from "../follow-jobs.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { failurePolicyWord, isTerminal } from "../job-words.js";
import { exitCodeOf, GIVE_UP_AFTER_MS } from "./watch.js";

const AFTER_HELP = `
A run is a set of jobs that wait for each other; docs/runs.md tells more. Each job stands below the last of
those that it waits for. With --wait it is shown once all its jobs have ended, and the exit code is 7 unless
the parent succeeded, or without a parent all jobs.

Examples:
  $ holdfast dag 0198c7f0-…                      # any job of the run
  $ holdfast dag 0198c7f0-… --wait --timeout 10m
  $ holdfast dag 0198c7f0-… --json | jq -r '.nodes[] | select(.state == "JOB_STATE_DEAD").jobId'`;

/** The protocol's largest page. */
const PAGE_SIZE_MAX = 10_000;

interface DagFlags {
  readonly wait?: boolean;
  readonly timeout?: number;
}

export function addDagCommand(program: Command, cli: Cli): void {
  program
    .command("dag")
    .description("show the run that a job belongs to: its jobs, what they wait for, states and times")
    .argument("<id>", "id of any job of the run")
    .option("--wait", "wait until all its jobs have ended")
    .option(
      "--timeout <duration>",
      "with --wait: stop waiting after this time (exit code 9)",
      parseDurationMs,
    )
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, flags: DagFlags, command: Command) =>
      perform(cli, command, async (invocation) => {
        if (flags.timeout !== undefined && flags.wait !== true) {
          throw usageError("--timeout is for --wait.", "Add --wait, or leave --timeout out.");
        }
        const { io, output } = invocation;
        const connection = invocation.connection();
        const dag =
          flags.wait === true
            ? await awaitDag(connection, jobId, flags.timeout, invocation)
            : await readDag(connection, jobId);
        const { failurePolicy, nodes, ...rest } = dag;
        const document = {
          ...rest,
          failurePolicy: failurePolicy === 0 ? null : failurePolicyWord(failurePolicy),
          nodes: nodes.map((node) => toJson(DagNodeSchema, node, JSON_OPTIONS)),
        };
        output.document(document, () => dagText(dag, io.nowMs(), output.paint));
        return flags.wait === true ? exitCodeOfRun(dag) : EXIT.ok;
      }),
    );
}

async function readDag({ jobs: client }: Connection, jobId: string): Promise<Dag> {
  const nodes: Dag["nodes"] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.getDag({ jobId, pageSize: PAGE_SIZE_MAX, pageToken });
    nodes.push(...page.nodes);
    pageToken = page.nextPageToken;
    if (pageToken === "") {
      const { runId, failurePolicy, jobs, childrenFailed } = page;
      return { runId, failurePolicy, jobs, childrenFailed, nodes };
    }
  }
}

/** A parent ends after its children; whatever else is open is waited for as it is found. */
async function awaitDag(
  connection: Connection,
  jobId: string,
  timeoutMs: number | undefined,
  { output }: Invocation,
): Promise<Dag> {
  const startedAtMs = performance.now();
  for (;;) {
    const dag = await readDag(connection, jobId);
    const open = dag.nodes.filter(({ state }) => !isTerminal(state)).map((node) => node.jobId);
    if (open.length === 0) return dag;
    const isParentOpen = dag.failurePolicy !== 0 && open.includes(dag.runId);
    await awaitJobs(connection, isParentOpen ? [dag.runId] : open.slice(0, FOLLOWED_JOBS_MAX), {
      timeoutMs:
        timeoutMs === undefined ? undefined : Math.max(timeoutMs - (performance.now() - startedAtMs), 1),
      giveUpAfterMs: GIVE_UP_AFTER_MS,
      wasReached: true,
      output,
      onUpdate: () => {},
    });
  }
}

function exitCodeOfRun({ failurePolicy, runId, nodes }: Dag): ExitCode {
  const decisive = failurePolicy === 0 ? nodes : nodes.filter(({ jobId }) => jobId === runId);
  return exitCodeOf(decisive.map(({ state }) => state));
}
