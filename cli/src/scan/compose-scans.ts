import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type ChildOutcome,
  type HoldfastClient,
  type JobContext,
  JobFailure,
  resultOf,
} from "@holdfast/worker";
import { cliVersion } from "../version.js";
import { composeSbom } from "./compose-sbom.js";
import { findPackages } from "./find-packages.js";
import { type ComposedSbom, type ComposeRequest, SCAN_KIND, type ScannedPackage } from "./scan-job.js";

/** What composing needs of its job; a test can be one without a hub. */
export type ComposeJob = Pick<JobContext, "id" | "json" | "children">;

/** The handler of sbom.compose: makes a bill of materials of what the children found, and writes it to the file. */
export async function composeScans(
  job: ComposeJob,
  client: Pick<HoldfastClient, "children">,
  sbomFile: string,
): Promise<ComposedSbom> {
  const { root } = readRequest(job);
  const scanned = new Map<string, ScannedPackage>();
  for await (const child of childrenOf(job, client)) {
    const scan = child.kind === SCAN_KIND ? resultOf(child)?.json<ScannedPackage>() : undefined;
    if (scan !== undefined) {
      scanned.set(scan.path, scan);
    }
  }
  const tree = await findPackages(root);
  const sbom = composeSbom({ tree, scanned, toolVersion: cliVersion(), at: new Date() });
  await writeWhole(sbomFile, sbom.text, job.id);
  return { path: sbomFile, components: sbom.components };
}

/** A lease brings the first outcomes; where those are not all, the hub is asked. */
async function* childrenOf(
  { id, children }: ComposeJob,
  client: Pick<HoldfastClient, "children">,
): AsyncGenerator<ChildOutcome> {
  if (children !== undefined && children.outcomes.length === children.total) {
    yield* children.outcomes;
  } else {
    yield* client.children(id);
  }
}

function readRequest(job: ComposeJob): ComposeRequest {
  const request = job.json<Partial<ComposeRequest> | null>();
  if (typeof request?.root !== "string") {
    throw new JobFailure("BAD_PAYLOAD", 'The payload must be {"root":"…"}.', { permanent: true });
  }
  return { root: request.root };
}

/** A reader never sees half of the file, nor do two workers that write it at once spoil each other's. */
async function writeWhole(file: string, text: string, jobId: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const part = `${file}.${jobId}.part`;
  await writeFile(part, text);
  await rename(part, file);
}
