import { create, toBinary } from "@bufbuild/protobuf";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Refusal } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { ResultBatch } from "../wire/result-batch.js";

/** Characters of the hub's own words that are passed on. */
const messageMax = 1_000;

/** The bytes of a holdfast.v1.Report of the permanent failure that is reported in place of a refused result. */
export function refusalNotice(jobId: string, fencingToken: number, refusal: Refusal): Uint8Array {
  const message = `${refusal.reason}: ${refusal.message}`.slice(0, messageMax);
  const outcome = create(OutcomeSchema, {
    outcome: { case: "failure", value: { code: "RESULT_REFUSED", message, permanent: true } },
  });
  const bytes = Buffer.from(jobId, "latin1");
  const identity = { bytes, jobIdStart: 0, jobIdEnd: bytes.length, token: fencingToken };
  const batch = new ResultBatch();
  batch.addOutcome(0, identity, toBinary(OutcomeSchema, outcome));
  return batch.take().bytes;
}
