import { JobState } from "../domain/job-state.js";
import { inJobOrder, type LeaseRow, leaseKey, leaseRowKey } from "./distinct-items.js";
import type { BatchStatement } from "./group-commit.js";
import { onJobTable } from "./job-partitions.js";
import { isByKey, numberArray, packBytes } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface CheckpointItem {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint;
  readonly sequence: bigint;
  readonly state: Uint8Array;
}

export type CheckpointResult = "saved" | "duplicate" | "stale";

// The job's row is updated first: that compares the token and keeps the row from changing hands until the
// checkpoint is in (D4).
const saving = onJobTable(
  "save_checkpoints",
  (jobs) => `
with input as (
  select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::integer[], $6::integer[])
    as i (id, session_id, fencing_token, sequence, state_offset, state_length)
), held as (
  update ${jobs} j set checkpoint_sequence = i.sequence, checkpoint_bytes = i.state_length
  from input i
  where ${isByKey("j.id", "i.id")} and j.fencing_token = i.fencing_token
    and j.session_id = i.session_id and j.state = ${JobState.Leased} and j.checkpoint_sequence < i.sequence
  returning j.id, i.session_id, i.sequence, i.fencing_token, substring($7::bytea from i.state_offset + 1 for i.state_length) as state
), saved as (
  insert into checkpoint (job_id, sequence, fencing_token, state)
  select id, sequence, fencing_token, state from held
  on conflict (job_id) do update set sequence = excluded.sequence, fencing_token = excluded.fencing_token,
    state = excluded.state, saved_at = now()
)
select id, session_id, fencing_token from held`,
);

const refusedText = `
select j.id, j.session_id, j.fencing_token
from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) as i (id, session_id, fencing_token, sequence)
join job j on ${isByKey("j.id", "i.id")} and j.session_id = i.session_id and j.fencing_token = i.fencing_token
  and j.checkpoint_sequence = i.sequence`;

/** Saves checkpoints under their fencing tokens (D7). */
export const saveCheckpoints: BatchStatement<CheckpointItem, CheckpointResult> = {
  name: "save_checkpoints",
  itemsMax: 256,
  bytesMax: 16 << 20,
  bytesOf: (item) => item.state.length + 128,
  run: async (on, items) => {
    // Of several checkpoints of one lease in a batch only the newest has to be written.
    const newest = new Map<string, CheckpointItem>();
    for (const item of items) {
      const key = leaseKey(item);
      const other = newest.get(key);
      if (!other || other.sequence < item.sequence) newest.set(key, item);
    }
    const distinct = inJobOrder(newest.values());
    const ids = distinct.map((item) => item.jobId);
    const keys = [
      uuidArray(ids),
      uuidArray(distinct.map((item) => item.sessionId)),
      numberArray(distinct.map((item) => item.fencingToken)),
      numberArray(distinct.map((item) => item.sequence)),
    ];
    const states = packBytes(distinct.map((item) => item.state));
    const saved = await on.connection.query<LeaseRow>({
      ...saving(on.jobTable(ids)),
      values: [...keys, states.offsets, states.lengths, states.blob],
    });
    const savedKeys = new Set(saved.rows.map(leaseRowKey));
    const repeated =
      savedKeys.size === distinct.length
        ? new Set<string>()
        : new Set(
            (
              await on.connection.query<LeaseRow>({
                name: "judge_checkpoints",
                text: refusedText,
                values: keys,
              })
            ).rows.map(leaseRowKey),
          );
    return { results: items.map((item) => judge(item, savedKeys, repeated)), wrotePage: false };
  },
};

/** As the newest of its lease in the batch, which is the only one that was written. */
function judge(
  item: CheckpointItem,
  saved: ReadonlySet<string>,
  repeated: ReadonlySet<string>,
): CheckpointResult {
  const key = leaseKey(item);
  if (saved.has(key)) return "saved";
  return repeated.has(key) ? "duplicate" : "stale";
}
