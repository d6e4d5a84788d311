import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { JobSpec } from "@holdfast/gen/holdfast/v1/job_pb";
import type { SubmitResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { usageError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import type { Invocation } from "../invocation.js";
import { parseJobLine } from "../job-line.js";
import { type JobFields, jobSpec } from "../job-spec.js";

/** Bounds of one call: well under the hub's 10,000 jobs, and under its message size with large payloads. */
const CHUNK_JOBS_MAX = 1_000;
const CHUNK_PAYLOAD_BYTES_MAX = 2 * 1024 * 1024;

interface NumberedSpec {
  readonly line: number;
  readonly spec: JobSpec;
}

/**
 * Submits the jobs of a file chunk by chunk while it is read, and says of each line what became of it. A line
 * that is not valid ends the batch before its chunk is sent; what was sent before it stays submitted.
 */
export async function submitBatch(
  file: string,
  kind: string | undefined,
  defaults: JobFields,
  { io, output, connection }: Invocation,
): Promise<ExitCode> {
  const { jobs } = connection();
  let accepted = 0;
  let refused = 0;

  for await (const chunk of chunks(
    readSpecs(file === "-" ? io.stdin : createReadStream(file), kind, defaults),
  )) {
    const { results } = await jobs.submitBatch({ jobs: chunk.map(({ spec }) => spec) });
    for (const [index, { result }] of results.entries()) {
      const line = chunk[index]?.line ?? 0;
      if (result.case === "accepted") {
        accepted += 1;
        const { jobId, existing } = result.value;
        output.item({ line, jobId, existing, ...replacedJson(result.value) });
        output.line(`${line}  ${jobId}${existing ? "  existing" : ""}`);
      } else {
        refused += 1;
        const { reason = "UNKNOWN", message = "", metadata = {} } = result.value ?? {};
        output.item({ line, refused: { reason, message, metadata } });
        output.line(`${line}  ${output.paint.bad("refused")}  ${reason}: ${message}`);
      }
    }
  }
  if (accepted + refused === 0) {
    throw usageError(`There is no job in ${file}.`, 'Write one per line, for example {"kind":"greet"}.');
  }
  output.remark(`${accepted} accepted, ${refused} refused`);
  return refused === 0 ? EXIT.ok : EXIT.refused;
}

async function* readSpecs(
  stream: Readable,
  kind: string | undefined,
  defaults: JobFields,
): AsyncGenerator<NumberedSpec> {
  let line = 0;
  try {
    for await (const text of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      line += 1;
      if (text.trim() !== "") {
        yield { line, spec: lineSpec(text, line, kind, defaults) };
      }
    }
  } catch (error) {
    throw isSystemError(error)
      ? usageError(
          `--batch cannot be read: ${error.message}.`,
          "Name a file of one JSON object per line, or -.",
        )
      : error;
  }
}

function lineSpec(text: string, line: number, kind: string | undefined, defaults: JobFields): JobSpec {
  const job = parseJobLine(text, line);
  const jobKind = job.kind ?? kind;
  if (jobKind === undefined) {
    throw usageError(
      `Line ${line} names no kind.`,
      'Write "kind" into it, or one for all: holdfast submit KIND --batch FILE.',
    );
  }
  const labels = { ...defaults.labels, ...job.fields.labels };
  return jobSpec(jobKind, job.payload, { ...defaults, ...job.fields, labels });
}

async function* chunks(specs: AsyncIterable<NumberedSpec>): AsyncGenerator<readonly NumberedSpec[]> {
  let chunk: NumberedSpec[] = [];
  let bytes = 0;
  for await (const numbered of specs) {
    const size = numbered.spec.payload.byteLength;
    if (chunk.length === CHUNK_JOBS_MAX || (chunk.length > 0 && bytes + size > CHUNK_PAYLOAD_BYTES_MAX)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(numbered);
    bytes += size;
  }
  if (chunk.length > 0) {
    yield chunk;
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}

/** The job whose unique key was taken over, where there is one. */
export function replacedJson({ replacedJobId }: SubmitResponse): { readonly replacedJobId?: string } {
  return replacedJobId === "" ? {} : { replacedJobId };
}
