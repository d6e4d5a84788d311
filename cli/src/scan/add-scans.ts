import { type HoldfastClient, type JobContext, JobFailure } from "@holdfast/worker";
import { findPackages } from "./find-packages.js";
import { type AddScansRequest, CHILDREN_PER_CALL_MAX, scanJob, slices } from "./scan-job.js";

/** What adding needs of its job; a test can be one without a hub. */
export type AddScansJob = Pick<JobContext, "id" | "json">;

/**
 * The handler of scan.add: adds its siblings before it reports, so that their parent cannot start without them. An
 * attempt that comes after another finds those that are there by their keys.
 */
export async function addScans(
  job: AddScansJob,
  client: Pick<HoldfastClient, "get" | "addChildren">,
): Promise<{ readonly added: number }> {
  const { root, from, label } = readRequest(job);
  const parentId = (await client.get(job.id)).job.runId;
  const { packages } = await findPackages(root);
  const scans = packages.slice(from).map(({ path }, at) => scanJob(root, path, label, from + at));
  for (const page of slices(scans, CHILDREN_PER_CALL_MAX)) {
    await client.addChildren(parentId, page);
  }
  return { added: scans.length };
}

function readRequest(job: AddScansJob): AddScansRequest {
  const request = job.json<Partial<AddScansRequest> | null>();
  const { root, from, label } = request ?? {};
  if (typeof root !== "string" || typeof label !== "string" || typeof from !== "number") {
    throw new JobFailure("BAD_PAYLOAD", 'The payload must be {"root":"…","from":0,"label":"…"}.', {
      permanent: true,
    });
  }
  return { root, from, label };
}
