import type { HubView, LedgerFacts, SessionProfile, SessionView } from "../domain/fleet-view.js";
import type { ReadPool } from "./read-pool.js";
import { toMs } from "./sql-text.js";
import { writerLockClass } from "./writer-connection.js";

/** Live sessions of a tenant, newest first (session ids are UUIDv7). */
export async function listSessions(
  db: ReadPool,
  tenantId: number,
  beforeId: string,
  limit: number,
): Promise<SessionView[]> {
  const { rows } = await db.query<{
    session_id: string;
    worker_name: string;
    subject: string;
    profile: SessionProfile;
    attached_at_ms: number;
    expires_at_ms: number;
    writer_id: number;
    is_draining: boolean;
  }>(
    `select session_id, worker_name, subject, profile, writer_id, is_draining, ${toMs("attached_at")} as attached_at_ms, ${toMs("expires_at")} as expires_at_ms
     from session where tenant_id = $1 and session_id < $2 and state = 1 and expires_at > now()
     order by session_id desc limit $3`,
    [tenantId, beforeId, limit],
  );
  return rows.map((row) => ({
    sessionId: row.session_id,
    workerName: row.worker_name,
    subject: row.subject,
    profile: row.profile,
    attachedAtMs: row.attached_at_ms,
    expiresAtMs: row.expires_at_ms,
    writerId: row.writer_id,
    isDraining: row.is_draining,
  }));
}

/** The hubs that hold the lock on their writer number now, oldest first, each with its live sessions of a tenant. */
export async function listHubs(db: ReadPool, tenantId: number): Promise<HubView[]> {
  const { rows } = await db.query<{
    writer_id: number;
    hub_version: string;
    host: string;
    started_at_ms: number;
    sessions: number;
  }>(
    `select w.writer_id, w.hub_version, w.host, ${toMs("w.started_at")} as started_at_ms,
       (select count(*)::integer from session s
        where s.writer_id = w.writer_id and s.tenant_id = $1 and s.state = 1 and s.expires_at > now()) as sessions
     from writer w
     where w.writer_id in (
       select l.objid::bigint from pg_locks l join pg_database d on d.oid = l.database
       where l.locktype = 'advisory' and l.classid = $2::bigint::oid and l.granted and d.datname = current_database())
     order by w.writer_id`,
    [tenantId, writerLockClass],
  );
  return rows.map((row) => ({
    writerId: row.writer_id,
    hubVersion: row.hub_version,
    host: row.host,
    startedAtMs: row.started_at_ms,
    sessions: row.sessions,
  }));
}

export interface ExpiredDelivery {
  readonly delivery: number;
  readonly jobIds: readonly string[];
  /** Whether the worker had acknowledged it. */
  readonly isDelivered: boolean;
}

export interface ExpiredSession {
  readonly sessionId: string;
  readonly deliveries: readonly ExpiredDelivery[];
}

/** Expired sessions that are not settled yet, each with some of its deliveries. */
export async function readExpiredSessions(
  db: ReadPool,
  sessionsMax: number,
  deliveriesMax: number,
): Promise<ExpiredSession[]> {
  const { rows } = await db.query<{
    session_id: string;
    delivery: string | null;
    job_ids: string[] | null;
    is_delivered: boolean | null;
  }>(
    `select s.session_id, d.delivery, d.job_ids, d.delivery <= s.delivered_through as is_delivered
     from (select * from session where state = 2 order by session_id limit $1) s
     left join lateral (select * from delivery d where d.session_id = s.session_id order by delivery limit $2) d on true`,
    [sessionsMax, deliveriesMax],
  );
  const sessions = new Map<string, ExpiredDelivery[]>();
  for (const row of rows) {
    const deliveries = sessions.get(row.session_id) ?? [];
    sessions.set(row.session_id, deliveries);
    if (row.delivery !== null)
      deliveries.push({
        delivery: Number(row.delivery),
        jobIds: row.job_ids ?? [],
        isDelivered: row.is_delivered ?? false,
      });
  }
  return [...sessions].map(([sessionId, deliveries]) => ({ sessionId, deliveries }));
}

/** Jobs that went into one delivery of a session; empty when it is settled or unknown. */
export async function readDelivery(db: ReadPool, sessionId: string, delivery: number): Promise<string[]> {
  const { rows } = await db.query<{ job_ids: string[] }>(
    "select job_ids from delivery where session_id = $1 and delivery = $2",
    [sessionId, delivery],
  );
  return rows[0]?.job_ids ?? [];
}

export async function readLedgerFacts(db: ReadPool): Promise<LedgerFacts> {
  const startedAt = performance.now();
  await db.query("select 1");
  const roundTripMs = performance.now() - startedAt;
  const { rows } = await db.query<{ version: string; migration: number; sync: string }>(
    `select split_part(current_setting('server_version'), ' ', 1) as version,
       (select max(number) from migration) as migration, current_setting('synchronous_commit') as sync`,
  );
  const row = rows[0];
  return {
    postgresVersion: row?.version ?? "",
    migration: row?.migration ?? 0,
    synchronousCommit: row?.sync ?? "",
    roundTripMs,
  };
}
