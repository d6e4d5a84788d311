import type { Spend } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import { inJobOrder, type LeaseRow, leaseKey, leaseRowKey } from "./distinct-items.js";
import type { BatchStatement } from "./group-commit.js";
import { isByKey, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** What an attempt has spent so far, all in all: saying it again, or saying less, changes nothing. */
export interface SpendItem extends Spend {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint;
}

// What was spent belongs to the current lease alone, so an older one finds nothing to change (D4). The job is locked, so
// that a lease that ends meanwhile leaves nothing behind.
const spendText = `
with input as (
  select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[])
    as i (id, session_id, fencing_token, cost, tokens)
), current as materialized (
  select i.* from input i join job j on ${isByKey("j.id", "i.id")}
  where j.state = ${JobState.Leased} and j.session_id = i.session_id and j.fencing_token = i.fencing_token
    and j.meter_ids is not null
  for no key update of j
), kept as (
  insert into spend as s (job_id, fencing_token, cost, tokens) select id, fencing_token, cost, tokens from current
  on conflict (job_id) do update set
    fencing_token = excluded.fencing_token,
    cost = greatest(excluded.cost, case when s.fencing_token = excluded.fencing_token then s.cost end),
    tokens = greatest(excluded.tokens, case when s.fencing_token = excluded.fencing_token then s.tokens end)
)
select id, session_id, fencing_token from current`;

/** Keeps what attempts have spent until their leases end; false for those that hold nothing any more, or never did. */
export const recordSpend: BatchStatement<SpendItem, boolean> = {
  name: "record_spend",
  itemsMax: 512,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    const most = new Map<string, SpendItem>();
    for (const item of items) {
      const known = most.get(leaseKey(item));
      const costMicroUsd = Math.max(item.costMicroUsd, known?.costMicroUsd ?? 0);
      most.set(leaseKey(item), { ...item, costMicroUsd, tokens: Math.max(item.tokens, known?.tokens ?? 0) });
    }
    const distinct = inJobOrder(most.values());
    const { rows } = await on.connection.query<LeaseRow>({
      name: "record_spend",
      text: spendText,
      values: [
        uuidArray(distinct.map((item) => item.jobId)),
        uuidArray(distinct.map((item) => item.sessionId)),
        numberArray(distinct.map((item) => item.fencingToken)),
        numberArray(distinct.map((item) => item.costMicroUsd)),
        numberArray(distinct.map((item) => item.tokens)),
      ],
    });
    const kept = new Set(rows.map(leaseRowKey));
    return { results: items.map((item) => kept.has(leaseKey(item))), wrotePage: false };
  },
};
