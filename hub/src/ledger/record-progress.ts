import { JobState } from "../domain/job-state.js";
import { inJobOrder, type LeaseRow, leaseKey, leaseRowKey } from "./distinct-items.js";
import type { BatchStatement } from "./group-commit.js";
import { onJobTable } from "./job-partitions.js";
import { isByKey, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface ProgressItem {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint;
  readonly percent: number;
  readonly message: string;
}

const recording = onJobTable(
  "record_progress",
  (jobs) => `
update ${jobs} j set progress = jsonb_build_object('percent', i.percent, 'message', i.message, 'at', now())
from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::float8[], $5::text[])
  as i (id, session_id, fencing_token, percent, message)
where ${isByKey("j.id", "i.id")} and j.fencing_token = i.fencing_token
  and j.session_id = i.session_id and j.state = ${JobState.Leased}
returning j.id, j.session_id, j.fencing_token`,
);

/** Records progress under its fencing token; answers whether it was current. Not a state change: no event. */
export const recordProgress: BatchStatement<ProgressItem, boolean> = {
  name: "record_progress",
  itemsMax: 500,
  bytesMax: 1 << 20,
  bytesOf: (item) => 96 + item.message.length,
  run: async (on, items) => {
    const newest = new Map(items.map((item) => [leaseKey(item), item]));
    const distinct = inJobOrder(newest.values());
    const ids = distinct.map((item) => item.jobId);
    const { rows } = await on.connection.query<LeaseRow>({
      ...recording(on.jobTable(ids)),
      values: [
        uuidArray(ids),
        uuidArray(distinct.map((item) => item.sessionId)),
        numberArray(distinct.map((item) => item.fencingToken)),
        numberArray(distinct.map((item) => item.percent)),
        distinct.map((item) => item.message),
      ],
    });
    const current = new Set(rows.map(leaseRowKey));
    return { results: items.map((item) => current.has(leaseKey(item))), wrotePage: false };
  },
};
