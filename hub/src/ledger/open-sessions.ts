import type { SessionProfile } from "../domain/fleet-view.js";
import { JobState } from "../domain/job-state.js";
import type { BatchStatement } from "./group-commit.js";
import { isByKey, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface OpenSessionItem {
  /** A fresh UUIDv7. */
  readonly sessionId: string;
  readonly tenantId: number;
  readonly keyId: string;
  readonly subject: string;
  readonly workerName: string;
  readonly profile: SessionProfile;
  readonly ttlMs: number;
}

const openText = `
insert into session (session_id, tenant_id, key_id, subject, worker_name, profile, writer_id, expires_at)
select id, tenant_id, key_id, subject, worker_name, profile::jsonb, $1, now() + ttl_ms * interval '1 ms'
from unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::float8[])
  as i (id, tenant_id, key_id, subject, worker_name, profile, ttl_ms)
on conflict do nothing`;

/** Opens sessions, live for their TTL by the ledger's clock. */
export const openSessions: BatchStatement<OpenSessionItem, true> = {
  name: "open_sessions",
  itemsMax: 200,
  bytesMax: 4 << 20,
  bytesOf: ({ profile }) => 512 + namesIn(profile).reduce((sum, name) => sum + name.length + 3, 0),
  run: async (on, items) => {
    await on.connection.query({
      name: "open_sessions",
      text: openText,
      values: [
        on.writerId,
        uuidArray(items.map((item) => item.sessionId)),
        numberArray(items.map((item) => item.tenantId)),
        items.map((item) => item.keyId),
        items.map((item) => item.subject),
        items.map((item) => item.workerName),
        items.map((item) => JSON.stringify(item.profile)),
        numberArray(items.map((item) => item.ttlMs)),
      ],
    });
    return { results: items.map(() => true as const), wrotePage: false };
  },
};

function namesIn({ kinds, capabilities, products, queues }: SessionProfile): string[] {
  return [...kinds, ...capabilities, ...products, ...queues];
}

export interface CloseItem {
  readonly sessionId: string;
  readonly epoch: number;
}

const hasLease = `exists (
      select from delivery d cross join unnest(d.job_ids) as u (id) join job j on ${isByKey("j.id", "u.id")}
      where ${isByKey("d.session_id", "s.session_id")} and j.session_id = s.session_id and j.state = ${JobState.Leased})`;

// One that has a lease in the ledger is expired instead: the reaper takes it back.
const closeText = `
with closed as (
  update session s set ended_at = now(), state = case when ${hasLease} then 2 else 3 end
  from unnest($1::uuid[], $2::integer[]) as i (id, epoch)
  where ${isByKey("s.session_id", "i.id")} and s.epoch = i.epoch and s.state = 1
  returning s.session_id, s.state
)
delete from delivery d using closed c where ${isByKey("d.session_id", "c.session_id")} and c.state = 3`;

/** Ends sessions whose workers left in good order and hold nothing, as far as their hub knows; forgets their deliveries. */
export const closeSessions: BatchStatement<CloseItem, true> = {
  name: "close_sessions",
  itemsMax: 200,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    await on.connection.query({
      name: "close_sessions",
      text: closeText,
      values: [uuidArray(items.map((item) => item.sessionId)), numberArray(items.map((item) => item.epoch))],
    });
    return { results: items.map(() => true as const), wrotePage: false };
  },
};
