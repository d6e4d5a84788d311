import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type JobContext, JobFailure } from "@holdfast/worker";
import { digestFile, digestTree, listFiles } from "./digest.js";
import { isPackage } from "./find-packages.js";
import { readManifest } from "./manifest.js";
import type { ScannedPackage, ScanRequest } from "./scan-job.js";
import { CHECKPOINT_FILES_MAX, decodeProgress, encodeProgress } from "./scan-progress.js";

/** What a scan needs of its job; a test can be one without a hub. */
export type ScanJob = Pick<JobContext, "json" | "signal" | "checkpoint" | "saveCheckpoint" | "progress">;

/** Most packages are done in a few milliseconds and never get this far; a checkpoint costs a commit. */
const CHECKPOINT_EVERY_BYTES = 32 * 1024 * 1024;

const LICENCE_FILE = /^(licen[cs]e|copying|unlicen[cs]e)([-.].*)?$/i;

/** The handler of scan.package: reads the manifest, the licence, and a digest over every file. */
export async function scanPackage(job: ScanJob): Promise<ScannedPackage> {
  const { root, path } = readRequest(job);
  const directory = resolve(root, path);
  const manifest = await readManifest(directory);
  if (!isPackage(manifest)) {
    throw new JobFailure("NOT_A_PACKAGE", `${directory} has no package.json with a version.`, {
      permanent: true,
    });
  }
  const files = await listFiles(directory);
  const progress = decodeProgress(files, job.checkpoint?.state);
  let savedBytes = progress.bytes;

  for (const [index, file] of files.entries()) {
    if (index < progress.digests.length) {
      continue;
    }
    const { digest, bytes } = await digestFile(join(directory, file), job.signal);
    progress.digests.push(digest);
    progress.bytes += bytes;
    if (
      progress.bytes - savedBytes >= CHECKPOINT_EVERY_BYTES &&
      progress.digests.length <= CHECKPOINT_FILES_MAX
    ) {
      savedBytes = progress.bytes;
      job.progress(
        (100 * progress.digests.length) / files.length,
        `${progress.digests.length} of ${files.length} files`,
      );
      await job.saveCheckpoint(encodeProgress(files, progress));
    }
  }
  return {
    path,
    manifest,
    licenceFile: (await readdir(directory)).sort().find((name) => LICENCE_FILE.test(name)),
    digest: digestTree(files, (index) => progress.digests[index] ?? new Uint8Array()),
    files: files.length,
    bytes: progress.bytes,
  };
}

function readRequest(job: ScanJob): ScanRequest {
  const request = job.json<Partial<ScanRequest> | null>();
  if (typeof request?.root !== "string" || typeof request.path !== "string") {
    throw new JobFailure("BAD_PAYLOAD", 'The payload must be {"root":"…","path":"…"}.', { permanent: true });
  }
  return { root: request.root, path: request.path };
}
