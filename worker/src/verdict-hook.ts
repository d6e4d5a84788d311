import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { scanVerdicts } from "./wire/verdict-scan.js";
import { asBuffer } from "./wire/wire-cursor.js";
import type { ResultVerdict } from "./worker-options.js";

const names: Partial<Record<Verdict, ResultVerdict["verdict"]>> = {
  [Verdict.COMMITTED]: "committed",
  [Verdict.DUPLICATE]: "duplicate",
  [Verdict.STALE]: "stale",
  [Verdict.REFUSED]: "refused",
};

/** The verdicts of a holdfast.v1.Verdicts message, as an application sees them. */
export function readVerdicts(bytes: Uint8Array): ResultVerdict[] {
  const buffer = asBuffer(bytes);
  return scanVerdicts(buffer, 0, buffer.length).flatMap(({ jobId, fencingToken, verdict }) => {
    const name = names[verdict];
    return name === undefined ? [] : [{ jobId, fencingToken: BigInt(fencingToken), verdict: name }];
  });
}
