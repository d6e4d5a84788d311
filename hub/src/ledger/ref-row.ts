import type { Ref } from "../domain/lane.js";
import { toMs } from "./sql-text.js";

/** Yields the columns of a Ref for a job row. */
export const refColumns = `
  id, lane_id, ready_key, attempt, ${toMs("ready_at")} as ready_at_ms,
  octet_length(payload) + checkpoint_bytes as bytes`;

export interface RefRow {
  readonly id: string;
  readonly lane_id: number;
  readonly ready_key: string;
  readonly attempt: number;
  readonly ready_at_ms: number;
  readonly bytes: number;
}

export function toRef(row: RefRow): Ref {
  return {
    jobId: row.id,
    laneId: row.lane_id,
    readyKey: Number(row.ready_key),
    readyAtMs: row.ready_at_ms,
    attempt: row.attempt,
    bytes: row.bytes,
  };
}
