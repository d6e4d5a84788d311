// What is told of jobs that wait for signals, and of the signals of a job. Nothing decides anything by it.
import type { AwaitedPlace } from "../domain/wait.js";
import type { ReadPool } from "./read-pool.js";
import { rowsByKey, toMs } from "./sql-text.js";

/** What a suspended job waits for; null when it does not. */
export async function readSuspended(
  db: ReadPool,
  tenantId: number,
  jobId: string,
): Promise<AwaitedPlace | null> {
  const { rows } = await db.query<{
    owner: string;
    name: string;
    partition: number;
    after_sequence: string;
    since_ms: number;
    timeout_at_ms: number | null;
  }>({
    name: "read_suspended",
    text: `
      select c.owner, c.name, s.partition, s.after_sequence, ${toMs("s.since")} as since_ms,
        ${toMs("s.timeout_at")} as timeout_at_ms
      from suspended s
      cross join ${rowsByKey("channel", "channel_id", "s.channel_id")} c
      where s.job_id = $1 and s.tenant_id = $2`,
    values: [jobId, tenantId],
  });
  const row = rows[0];
  if (!row) return null;
  return {
    owner: row.owner,
    channel: row.name,
    partition: row.partition,
    afterSequence: Number(row.after_sequence),
    sinceMs: row.since_ms,
    timeoutAtMs: row.timeout_at_ms,
  };
}

/** The gauge counts no further. */
const countedSuspendedMax = 1_000_000;

/** How many jobs of all tenants wait for signals: a walk along an index. */
export async function countSuspended(db: ReadPool): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    name: "count_suspended",
    text: `select count(*)::integer as count from (select from suspended limit ${countedSuspendedMax}) s`,
  });
  return rows[0]?.count ?? 0;
}
