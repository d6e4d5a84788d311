import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Job, JobSpecSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { RawClient } from "./raw-client.js";

export type JobInit = MessageInitShape<typeof JobSpecSchema>;

export async function submitOne(client: RawClient, job: JobInit = {}): Promise<string> {
  const { jobId } = await client.call(JobService.method.submit, { job: { kind: "work", ...job } as JobInit });
  return jobId;
}

/** Ids in the order of the jobs; throws when one was refused. */
export async function submitMany(client: RawClient, jobs: readonly JobInit[]): Promise<string[]> {
  const specs = jobs.map((job) => ({ kind: "work", ...job }) as JobInit);
  const { results } = await client.call(JobService.method.submitBatch, { jobs: specs });
  return results.map(({ result }) => {
    if (result.case !== "accepted") throw new Error(`refused: ${JSON.stringify(result.value)}`);
    return result.value.jobId;
  });
}

export async function getJob(client: RawClient, jobId: string): Promise<Job> {
  const { job } = await client.call(JobService.method.get, { jobId });
  return job as Job;
}

export function duration(ms: number) {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: Math.round((ms % 1_000) * 1e6) };
}

/** A Timestamp that many milliseconds from now. */
export function inMs(ms: number) {
  const at = Date.now() + ms;
  return { seconds: BigInt(Math.floor(at / 1_000)), nanos: (at % 1_000) * 1e6 };
}
