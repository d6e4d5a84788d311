import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { WireCursor, WireError } from "./wire-cursor.js";

/** One holdfast.v1.JobVerdict. The refusal, which is rare, is left in place. */
export type ScannedVerdict = {
  jobId: string;
  fencingToken: number;
  verdict: Verdict;
  state: JobState;
  refusalStart: number;
  refusalEnd: number;
};

/** Field number << 3 | wire type, of holdfast.v1.Verdicts. */
const verdictsTag = 0x0a;

/** The same, of holdfast.v1.JobVerdict. */
const verdictTag = { jobId: 0x0a, fencingToken: 0x10, verdict: 0x18, state: 0x20, refusal: 0x2a } as const;

/** Reads a holdfast.v1.Verdicts message that lies between `start` and `end`. */
export function scanVerdicts(bytes: Buffer, start: number, end: number): ScannedVerdict[] {
  const cursor = new WireCursor(bytes, start, end);
  const verdicts: ScannedVerdict[] = [];
  while (cursor.pos < end) {
    const tag = cursor.varint();
    if (tag !== verdictsTag) {
      cursor.skip(tag);
      continue;
    }
    const verdictEnd = cursor.enter();
    verdicts.push(scanVerdict(bytes, cursor.pos, verdictEnd));
    cursor.pos = verdictEnd;
  }
  return verdicts;
}

function scanVerdict(bytes: Buffer, start: number, end: number): ScannedVerdict {
  const cursor = new WireCursor(bytes, start, end);
  const scanned: ScannedVerdict = {
    jobId: "",
    fencingToken: 0,
    verdict: Verdict.UNSPECIFIED,
    state: JobState.UNSPECIFIED,
    refusalStart: 0,
    refusalEnd: 0,
  };
  while (cursor.pos < end) {
    const tag = cursor.varint();
    switch (tag) {
      case verdictTag.jobId: {
        const idEnd = cursor.enter();
        scanned.jobId = bytes.toString("latin1", cursor.pos, idEnd);
        cursor.pos = idEnd;
        break;
      }
      case verdictTag.fencingToken:
        scanned.fencingToken = cursor.varint();
        break;
      case verdictTag.verdict:
        scanned.verdict = cursor.varint();
        break;
      case verdictTag.state:
        scanned.state = cursor.varint();
        break;
      case verdictTag.refusal:
        scanned.refusalEnd = cursor.enter();
        scanned.refusalStart = cursor.pos;
        cursor.pos = scanned.refusalEnd;
        break;
      default:
        cursor.skip(tag);
    }
  }
  if (scanned.verdict === Verdict.UNSPECIFIED || Verdict[scanned.verdict] === undefined) {
    throw new WireError(`verdict ${scanned.verdict} is unknown`);
  }
  return scanned;
}
