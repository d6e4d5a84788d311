import type { SessionProfile } from "../domain/fleet-view.js";
import type { JobOptions } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { BatchStatement } from "./group-commit.js";
import { booleanArray, numberArray, toMs, uuidArray } from "./sql-text.js";

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
  bytesOf: () => 1_024,
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

export interface ResumeSessionItem {
  readonly sessionId: string;
  readonly tenantId: number;
  readonly subject: string;
  readonly ttlMs: number;
  /** What the worker is now; without it, what it was. */
  readonly worker?: { readonly workerName: string; readonly profile: SessionProfile };
}

/** A lease that a session has in the ledger. */
export interface StandingLease {
  readonly jobId: string;
  readonly laneId: number;
  readonly fencingToken: bigint;
  readonly attempt: number;
  readonly attemptsMax: number;
  readonly delivery: number;
  readonly options: JobOptions;
}

export type ResumeResult =
  | {
      readonly type: "resumed";
      /** Fences the stream: a newer resume has a higher one. */
      readonly epoch: number;
      readonly deliveredThrough: number;
      /** The highest delivery number used so far; 0 when none was. */
      readonly lastDelivery: number;
      readonly workerName: string;
      readonly profile: SessionProfile;
      readonly leases: readonly StandingLease[];
      /** Number and size of each delivery that is still recorded. */
      readonly deliveries: readonly number[];
      readonly lastRequest: { readonly requestId: string; readonly delivery: number } | null;
    }
  | { readonly type: "expired" };

const resumeText = `
update session set
    epoch = epoch + 1, writer_id = $1, expires_at = now() + $5::float8 * interval '1 ms', is_draining = false,
    worker_name = coalesce($6::text, worker_name), profile = coalesce($7::jsonb, profile)
where session_id = $2 and tenant_id = $3 and subject = $4 and state = 1 and expires_at > now()
returning epoch, delivered_through, worker_name, profile, last_request_id, last_request_delivery`;

const deliveriesText = "select delivery, job_ids from delivery where session_id = $1 order by delivery";

const standingText = `
select j.id, j.lane_id, j.fencing_token, j.attempt, j.attempts_max, j.delivery, j.options
from unnest($1::uuid[]) as i (id) join job j on j.id = i.id
where j.session_id = $2 and j.state = ${JobState.Leased}`;

/** Resumes a session of the same tenant and subject that has not expired (D6). */
export const resumeSession: BatchStatement<ResumeSessionItem, ResumeResult> = {
  name: "resume_session",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 128,
  run: async (on, [item]) => {
    if (!item) throw new TypeError("Nothing to resume.");
    const resumed = await on.connection.query<{
      epoch: number;
      delivered_through: string;
      worker_name: string;
      profile: SessionProfile;
      last_request_id: string | null;
      last_request_delivery: string | null;
    }>({
      name: "resume_session",
      text: resumeText,
      values: [
        on.writerId,
        item.sessionId,
        item.tenantId,
        item.subject,
        item.ttlMs,
        item.worker?.workerName ?? null,
        item.worker ? JSON.stringify(item.worker.profile) : null,
      ],
    });
    const row = resumed.rows[0];
    if (!row) return { results: [{ type: "expired" }], wrotePage: false };
    const deliveries = await on.connection.query<{ delivery: string; job_ids: string[] }>({
      name: "read_deliveries",
      text: deliveriesText,
      values: [item.sessionId],
    });
    const jobIds = deliveries.rows.flatMap((delivery) => delivery.job_ids);
    const standing = await on.connection.query<{
      id: string;
      lane_id: number;
      fencing_token: string;
      attempt: number;
      attempts_max: number;
      delivery: string;
      options: JobOptions | null;
    }>({ name: "read_standing_leases", text: standingText, values: [uuidArray(jobIds), item.sessionId] });
    const numbers = deliveries.rows.map((delivery) => Number(delivery.delivery));
    const deliveredThrough = Number(row.delivered_through);
    return {
      results: [
        {
          type: "resumed",
          epoch: row.epoch,
          deliveredThrough,
          lastDelivery: Math.max(deliveredThrough, numbers.at(-1) ?? 0),
          workerName: row.worker_name,
          profile: row.profile,
          deliveries: numbers,
          lastRequest:
            row.last_request_id === null
              ? null
              : { requestId: row.last_request_id, delivery: Number(row.last_request_delivery) },
          leases: standing.rows.map((lease) => ({
            jobId: lease.id,
            laneId: lease.lane_id,
            fencingToken: BigInt(lease.fencing_token),
            attempt: lease.attempt,
            attemptsMax: lease.attempts_max,
            delivery: Number(lease.delivery),
            options: lease.options ?? {},
          })),
        },
      ],
      wrotePage: false,
    };
  },
};

export interface RenewItem {
  readonly sessionId: string;
  readonly epoch: number;
  readonly ttlMs: number;
  readonly deliveredThrough: number;
  readonly isDraining: boolean;
  /** Deliveries all of whose jobs are done: their records go. */
  readonly settledDeliveries: readonly number[];
  /** The newest unary claim, so that repeating it repeats its answer. */
  readonly lastRequest: { readonly requestId: string; readonly delivery: number } | null;
}

/** "unauthorised": its API key was revoked or has expired. */
export type RenewResult = "renewed" | "expired" | "superseded" | "unauthorised";

const hasGoodKey = `(s.key_id = '' or exists (
    select from api_key k
    where k.key_id = s.key_id and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())))`;

const renewText = `
with input as (
  select * from unnest($1::uuid[], $2::integer[], $3::float8[], $4::bigint[], $5::boolean[], $6::text[], $7::bigint[])
    as i (id, epoch, ttl_ms, delivered_through, is_draining, request_id, request_delivery)
), settled as (
  delete from delivery d using unnest($8::uuid[], $9::bigint[]) as g (id, delivery)
  where d.session_id = g.id and d.delivery = g.delivery
)
update session s set
    expires_at = now() + i.ttl_ms * interval '1 ms',
    delivered_through = greatest(s.delivered_through, i.delivered_through), is_draining = i.is_draining,
    last_request_id = coalesce(i.request_id, s.last_request_id),
    last_request_delivery = coalesce(i.request_delivery, s.last_request_delivery)
from input i
where s.session_id = i.id and s.epoch = i.epoch and s.state = 1 and s.expires_at > now() and ${hasGoodKey}
returning s.session_id, s.epoch`;

interface JudgedSession {
  readonly session_id: string;
  readonly epoch: number;
  readonly is_live: boolean;
  readonly has_good_key: boolean;
}

const judgeText = `
select s.session_id, s.epoch, s.state = 1 and s.expires_at > now() as is_live, ${hasGoodKey} as has_good_key
from unnest($1::uuid[]) as i (id) join session s on s.session_id = i.id`;

/** Renews sessions, and with them all their leases: one row write each per heartbeat. */
export const renewSessions: BatchStatement<RenewItem, RenewResult> = {
  name: "renew_sessions",
  itemsMax: 500,
  bytesMax: 4 << 20,
  bytesOf: (item) => 96 + item.settledDeliveries.length * 32,
  run: async (on, items) => {
    const newest = new Map(items.map((item) => [attachmentKey(item), item]));
    const distinct = [...newest.values()];
    const settled = items.flatMap((item) =>
      item.settledDeliveries.map((delivery) => ({ sessionId: item.sessionId, delivery })),
    );
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
        uuidArray(settled.map((item) => item.sessionId)),
        numberArray(settled.map((item) => item.delivery)),
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

export interface CloseItem {
  readonly sessionId: string;
  readonly epoch: number;
}

const closeText = `
update session s set state = 3, ended_at = now()
from unnest($1::uuid[], $2::integer[]) as i (id, epoch)
where s.session_id = i.id and s.epoch = i.epoch and s.state = 1`;

/** Ends sessions whose workers left in good order and hold nothing. */
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

const expireText = `
update session set state = 2, ended_at = now()
where session_id in (
  select session_id from session where state = 1 and expires_at <= now() limit $1 for update skip locked)
returning session_id, epoch`;

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

/** A late claim may still have been granted to a session after it expired; it is looked at again for this long. */
const settleSessionMs = 60_000;

const dropDeliveriesText = `
with gone as (
  delete from delivery d using unnest($2::bigint[]) as g (delivery)
  where d.session_id = $1 and d.delivery = g.delivery
)
update session set state = 3
where session_id = $1 and state = 2 and $3 and ended_at < now() - interval '${settleSessionMs} ms'`;

export interface DropDeliveriesItem {
  readonly sessionId: string;
  readonly deliveries: readonly number[];
  /** Nothing was found: the session may be closed once enough time has passed. */
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

export const sessionTimes = `${toMs("attached_at")} as attached_at_ms, ${toMs("expires_at")} as expires_at_ms`;
