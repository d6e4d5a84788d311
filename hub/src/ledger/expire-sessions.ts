import type { BatchStatement } from "./group-commit.js";
import { isByKey, numberArray } from "./sql-text.js";

const expireText = `
with found as materialized (
  select session_id from session where state = 1 and expires_at <= now() limit $1 for update skip locked
)
update session s set state = 2, ended_at = now()
from found f where ${isByKey("s.session_id", "f.session_id")}
returning s.session_id`;

/** Marks sessions that ran out, by the ledger's clock (D6); answers which. At most the given number. */
export const expireSessions: BatchStatement<number, readonly string[]> = {
  name: "expire_sessions",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 16,
  run: async (on, [limit = 0]) => {
    const { rows } = await on.connection.query<{ session_id: string }>({
      name: "expire_sessions",
      text: expireText,
      values: [limit],
    });
    return { results: [rows.map((row) => row.session_id)], wrotePage: false };
  },
};

const dropDeliveriesText = `
with gone as (
  delete from delivery where session_id = $1 and delivery = any($2::bigint[])
)
update session set state = 3
where session_id = $1 and state = 2 and $3`;

export interface DropDeliveriesItem {
  readonly sessionId: string;
  readonly deliveries: readonly number[];
  /** Nothing was found, and nothing is claimed for a session that expired: it may be closed. */
  readonly isEmpty: boolean;
}

/** Forgets the deliveries of an expired session whose leases went back. */
export const dropDeliveries: BatchStatement<DropDeliveriesItem, true> = {
  name: "drop_deliveries",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, [item]) => {
    if (!item) throw new TypeError("No session named.");
    await on.connection.query({
      name: "drop_deliveries",
      text: dropDeliveriesText,
      values: [item.sessionId, numberArray(item.deliveries), item.isEmpty],
    });
    return { results: [true], wrotePage: false };
  },
};
