import { WireCursor } from "./wire-cursor.js";

/** Where one result lies in a holdfast.v1.Report, and whose it is. */
export type ScannedResult = { jobId: string; fencingToken: number; start: number; end: number };

/** Field number << 3 | wire type: Report.results, then of JobResult. */
const resultsTag = 0x0a;
const resultTag = { jobId: 0x0a, fencingToken: 0x10 } as const;

/** Every entry of a Report; `start` and `end` enclose the entry with its tag, so it is a Report by itself. */
export function scanReport(bytes: Buffer): ScannedResult[] {
  const cursor = new WireCursor(bytes, 0, bytes.length);
  const results: ScannedResult[] = [];
  while (cursor.pos < cursor.end) {
    const start = cursor.pos;
    const tag = cursor.varint();
    if (tag !== resultsTag) {
      cursor.skip(tag);
      continue;
    }
    const end = cursor.enter();
    const result: ScannedResult = { jobId: "", fencingToken: 0, start, end };
    const inner = new WireCursor(bytes, cursor.pos, end);
    while (inner.pos < end) {
      const innerTag = inner.varint();
      if (innerTag === resultTag.jobId) {
        const idEnd = inner.enter();
        result.jobId = bytes.toString("latin1", inner.pos, idEnd);
        inner.pos = idEnd;
      } else if (innerTag === resultTag.fencingToken) {
        result.fencingToken = inner.varint();
      } else {
        inner.skip(innerTag);
      }
    }
    results.push(result);
    cursor.pos = end;
  }
  return results;
}
