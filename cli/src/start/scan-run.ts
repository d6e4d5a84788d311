import { create } from "@bufbuild/protobuf";
import {
  FailurePolicy,
  type Job,
  type JobSpec,
  JobSpecSchema,
  JobState,
} from "@holdfast/gen/holdfast/v1/job_pb";
import type { DagNode } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { JSON_CONTENT_TYPE } from "../arguments/payload.js";
import { CliError } from "../cli-error.js";
import { requireJob } from "../commands/job-answer.js";
import type { Connection } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import { readable } from "../job-json.js";
import type { PackageTree } from "../scan/find-packages.js";
import {
  ADD_SCANS_KIND,
  type AddScansRequest,
  CHILDREN_PER_CALL_MAX,
  COMPOSE_KIND,
  type ComposedSbom,
  type ComposeRequest,
  SCAN_KIND,
  type ScanJobInit,
  scanJob,
} from "../scan/scan-job.js";
import { followScans } from "./follow-scans.js";

const DAG_PAGE_JOBS_MAX = 10_000;

export interface ScanRunOptions {
  readonly connection: Connection;
  readonly tree: PackageTree;
  /** Makes the jobs of this run its own; see scanJob. */
  readonly label: string;
  readonly signal: AbortSignal;
  readonly onProgress: (scansDone: number) => void;
  /** Children of the first call; the rest is added by one of them. */
  readonly childrenMax?: number;
}

export interface ScanRun {
  readonly runId: string;
  /** The scans, without what adds and composes. */
  readonly scans: readonly DagNode[];
  /** From the submit to the last scan's end, as seen here. */
  readonly elapsedMs: number;
  readonly sbom: ComposedSbom;
}

/** Submits a run, one scan per package and a parent that composes the bill, and follows it to its end. */
export async function runScan(options: ScanRunOptions): Promise<ScanRun> {
  const { connection, signal, onProgress } = options;
  const startedAtMs = performance.now();
  const request = scanRun(options);
  const { runId, childIds } = await connection.jobs.submitRun(request, { signal });
  let scansDone = 0;
  let elapsedMs = 0;
  const countScan = () => {
    scansDone += 1;
    elapsedMs = performance.now() - startedAtMs;
    onProgress(scansDone);
  };
  const isScan = (_: string, place: number) => request.children[place]?.kind === SCAN_KIND;
  const [first, adding] = [childIds.filter(isScan), childIds.filter((id, place) => !isScan(id, place))];
  const known = new Set(childIds);
  const followAdded = async () => {
    if (adding.length === 0) return;
    await followScans(connection, adding, signal, () => {});
    const scans = (await readDag(connection, runId, signal)).filter(({ kind }) => kind === SCAN_KIND);
    const added = scans.map(({ jobId }) => jobId).filter((jobId) => !known.has(jobId));
    await followScans(connection, added, signal, countScan);
  };
  await Promise.all([followScans(connection, first, signal, countScan), followAdded()]);
  await followScans(connection, [runId], signal, () => {});

  const nodes = await readDag(connection, runId, signal);
  const parent = requireJob((await connection.jobs.get({ jobId: runId }, { signal })).job);
  if (parent.state !== JobState.SUCCEEDED) {
    throw await runFailure(connection, parent, nodes, signal);
  }
  return {
    runId,
    scans: nodes.filter(({ kind }) => kind === SCAN_KIND),
    elapsedMs,
    sbom: resultOf(parent) as unknown as ComposedSbom,
  };
}

function scanRun({ tree, label, childrenMax = CHILDREN_PER_CALL_MAX }: ScanRunOptions) {
  const { root } = tree;
  const paths = tree.packages.map(({ path }) => path);
  const firstCount = paths.length <= childrenMax ? paths.length : childrenMax - 1;
  const rest: AddScansRequest = { root, from: firstCount, label };
  const parent: ComposeRequest = { root };
  const named = { labels: { run: label } };
  const toAdd = { ...named, kind: ADD_SCANS_KIND, payload: rest, idempotencyKey: `${label}/add` };
  return {
    parent: toSpec({ ...named, kind: COMPOSE_KIND, payload: parent, idempotencyKey: label }),
    children: [
      ...(firstCount === paths.length ? [] : [toSpec(toAdd)]),
      ...paths.slice(0, firstCount).map((path, place) => toSpec(scanJob(root, path, label, place))),
    ],
    failurePolicy: FailurePolicy.FAIL_FAST,
  };
}

export function toSpec({
  payload,
  ...job
}: Omit<ScanJobInit, "payload"> & { readonly payload: object }): JobSpec {
  return create(JobSpecSchema, {
    ...job,
    labels: { ...job.labels },
    payload: Buffer.from(JSON.stringify(payload)),
    contentType: JSON_CONTENT_TYPE,
  });
}

async function readDag({ jobs }: Connection, jobId: string, signal: AbortSignal): Promise<DagNode[]> {
  const nodes: DagNode[] = [];
  for (let pageToken = ""; ; ) {
    const page = await jobs.getDag({ jobId, pageSize: DAG_PAGE_JOBS_MAX, pageToken }, { signal });
    nodes.push(...page.nodes);
    pageToken = page.nextPageToken;
    if (pageToken === "") {
      return nodes;
    }
  }
}

function resultOf(job: Job) {
  const outcome = job.outcome?.outcome;
  return outcome?.case === "success" ? readable(outcome.value.result, outcome.value.contentType) : undefined;
}

/** Names the child that the run failed of, where there is one. */
async function runFailure(
  { jobs }: Connection,
  parent: Job,
  nodes: readonly DagNode[],
  signal: AbortSignal,
): Promise<CliError> {
  const dead = nodes.find(({ isChild, state }) => isChild && state === JobState.DEAD);
  const job =
    dead === undefined ? parent : requireJob((await jobs.get({ jobId: dead.jobId }, { signal })).job);
  const outcome = job.outcome?.outcome;
  const why =
    outcome?.case === "failure" ? `${outcome.value.code}: ${outcome.value.message}` : "it was cancelled";
  const what = job.kind === COMPOSE_KIND ? "The bill of materials" : "The scan";
  return new CliError(`${what} ${job.id} did not succeed: ${why}`, {
    exitCode: EXIT.jobNotSucceeded,
    reason: "SCAN_FAILED",
    next: `holdfast get ${job.id} --history`,
  });
}
