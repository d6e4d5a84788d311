import type { BatchStatement } from "./group-commit.js";
import { booleanArray, isByKey, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface RenewItem {
  readonly sessionId: string;
  readonly epoch: number;
  readonly ttlMs: number;
  readonly deliveredThrough: number;
  readonly isDraining: boolean;
  /** The newest unary claim, so that repeating it repeats its answer. */
  readonly lastRequest: { readonly requestId: string; readonly delivery: number } | null;
}

/** "unauthorised": its API key was revoked or has expired. */
export type RenewResult = "renewed" | "expired" | "superseded" | "unauthorised";

// A worker that came without a key stays until there is one: the first key closes the hub to it as well.
const hasGoodKey = `(s.key_id = '' and not exists (select from api_key) or exists (
    select from api_key k
    where k.key_id = s.key_id and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())))`;

const renewText = `
with input as (
  select * from unnest($1::uuid[], $2::integer[], $3::float8[], $4::bigint[], $5::boolean[], $6::text[], $7::bigint[])
    as i (id, epoch, ttl_ms, delivered_through, is_draining, request_id, request_delivery)
)
update session s set
    writer_id = $8, expires_at = now() + i.ttl_ms * interval '1 ms',
    delivered_through = greatest(s.delivered_through, i.delivered_through), is_draining = i.is_draining,
    last_request_id = coalesce(i.request_id, s.last_request_id),
    last_request_delivery = coalesce(i.request_delivery, s.last_request_delivery)
from input i
where ${isByKey("s.session_id", "i.id")} and s.epoch = i.epoch and s.state = 1 and s.expires_at > now()
  and ${hasGoodKey}
returning s.session_id, s.epoch`;

interface JudgedSession {
  readonly session_id: string;
  readonly epoch: number;
  readonly is_live: boolean;
  readonly has_good_key: boolean;
}

const judgeText = `
select s.session_id, s.epoch, s.state = 1 and s.expires_at > now() as is_live, ${hasGoodKey} as has_good_key
from unnest($1::uuid[]) as i (id) join session s on ${isByKey("s.session_id", "i.id")}`;

/**
 * Renews sessions, and with them all their leases: one row write each per heartbeat. Whoever renews the newest attachment
 * holds the session, under the number that it writes under now: another may have ended its former life.
 */
export const renewSessions: BatchStatement<RenewItem, RenewResult> = {
  name: "renew_sessions",
  itemsMax: 500,
  bytesMax: 4 << 20,
  bytesOf: () => 96,
  run: async (on, items) => {
    const newest = new Map(items.map((item) => [attachmentKey(item), item]));
    const distinct = [...newest.values()];
    const { rows } = await on.connection.query<{ session_id: string; epoch: number }>({
      name: "renew_sessions",
      text: renewText,
      values: [
        uuidArray(distinct.map((item) => item.sessionId)),
        numberArray(distinct.map((item) => item.epoch)),
        numberArray(distinct.map((item) => item.ttlMs)),
        numberArray(distinct.map((item) => item.deliveredThrough)),
        booleanArray(distinct.map((item) => item.isDraining)),
        distinct.map((item) => item.lastRequest?.requestId ?? null),
        numberArray(distinct.map((item) => item.lastRequest?.delivery ?? null)),
        on.writerId,
      ],
    });
    const renewed = new Set(
      rows.map((row) => attachmentKey({ sessionId: row.session_id, epoch: row.epoch })),
    );
    const judged = new Map<string, JudgedSession>();
    if (renewed.size < distinct.length) {
      const states = await on.connection.query<JudgedSession>({
        name: "judge_renewals",
        text: judgeText,
        values: [uuidArray(distinct.map((item) => item.sessionId))],
      });
      for (const row of states.rows) judged.set(row.session_id, row);
    }
    const results = items.map((item): RenewResult => {
      if (renewed.has(attachmentKey(item))) return "renewed";
      const row = judged.get(item.sessionId);
      if (!row?.is_live) return "expired";
      if (row.epoch > item.epoch) return "superseded";
      return row.has_good_key ? "expired" : "unauthorised";
    });
    return { results, wrotePage: false };
  },
};

/** A stream of a session: a newer one fences out the older, also in one batch. */
function attachmentKey(item: { readonly sessionId: string; readonly epoch: number }): string {
  return `${item.sessionId}/${item.epoch}`;
}
