import { toJson } from "@bufbuild/protobuf";
import { type DagNode, DagNodeSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { Command } from "commander";
import { dagText } from "../dag-text.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { failurePolicyWord } from "../job-words.js";

const AFTER_HELP = `
A run is a set of jobs that wait for each other; docs/runs.md tells more. Each job stands below the last of those
that it waits for.

Examples:
  $ holdfast dag 0198c7f0-…                      # any job of the run
  $ holdfast dag 0198c7f0-… --json | jq -r '.nodes[] | select(.state == "JOB_STATE_DEAD").jobId'`;

/** The protocol's largest page. */
const PAGE_SIZE_MAX = 10_000;

export function addDagCommand(program: Command, cli: Cli): void {
  program
    .command("dag")
    .description("show the run that a job belongs to: its jobs, what they wait for, states and times")
    .argument("<id>", "id of any job of the run")
    .addHelpText("after", AFTER_HELP)
    .action((jobId: string, _flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { jobs } = connection();
        const nodes: DagNode[] = [];
        let page = await jobs.getDag({ jobId, pageSize: PAGE_SIZE_MAX });
        nodes.push(...page.nodes);
        while (page.nextPageToken !== "") {
          page = await jobs.getDag({ jobId, pageSize: PAGE_SIZE_MAX, pageToken: page.nextPageToken });
          nodes.push(...page.nodes);
        }
        const { runId, failurePolicy, jobs: size, childrenFailed } = page;
        const document = {
          runId,
          failurePolicy: failurePolicy === 0 ? null : failurePolicyWord(failurePolicy),
          jobs: size,
          childrenFailed,
          nodes: nodes.map((node) => toJson(DagNodeSchema, node, JSON_OPTIONS)),
        };
        output.document(document, () =>
          dagText({ runId, failurePolicy, jobs: size, childrenFailed, nodes }, io.nowMs(), output.paint),
        );
        return EXIT.ok;
      }),
    );
}
