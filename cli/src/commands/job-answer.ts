import type { Job } from "@holdfast/gen/holdfast/v1/job_pb";
import { CliError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import type { Invocation } from "../invocation.js";
import { jobJson } from "../job-json.js";
import { jobText } from "../job-text.js";

/** Writes the job that a hub answered with. */
export function answerWithJob(job: Job | undefined, { io, output }: Invocation): ExitCode {
  const present = requireJob(job);
  output.document({ job: jobJson(present) }, () => jobText(present, io.nowMs(), output.paint));
  return EXIT.ok;
}

/** The protocol's messages are optional on the wire; an answer without its job is a defect of the hub. */
export function requireJob(job: Job | undefined): Job {
  if (job === undefined) {
    throw new CliError("The hub answered without a job.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  return job;
}
