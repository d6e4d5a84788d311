import { type JsonObject, toJson } from "@bufbuild/protobuf";
import {
  type DeadLetterResult,
  DeadLetterResultSchema,
} from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { JSON_OPTIONS } from "../job-json.js";
import type { Output } from "../output.js";

/** Writes what became of each dead letter; what was not done makes the code "refused". */
export function writeResults(
  output: Output,
  results: readonly DeadLetterResult[],
  doneWord: string,
): ExitCode {
  for (const result of results) {
    output.item(toJson(DeadLetterResultSchema, result, JSON_OPTIONS) as JsonObject);
    output.line(
      result.refused === undefined
        ? `${result.jobId}  ${doneWord}`
        : `${result.jobId}  ${output.paint.bad(result.refused.reason)}: ${result.refused.message}`,
    );
  }
  return results.some(({ refused }) => refused !== undefined) ? EXIT.refused : EXIT.ok;
}
