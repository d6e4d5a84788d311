import type { OperationRecord } from "../domain/audit.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/** What is not sealed yet of one tenant, oldest first, with the seal that the next one follows. */
export interface Unsealed {
  readonly tenant: string;
  /** The newest seal; number 0 before the first. */
  readonly last: { readonly number: number; readonly seal: string };
  /** The seal with the number that was asked for; null where there is none. */
  readonly seen: string | null;
  readonly now: string;
  readonly operations: readonly OperationRecord[];
}

export interface AuditHead {
  /** The newest seal; null before the first. */
  readonly seal: string | null;
  /** Operations that are not sealed yet, and since when the oldest waits; null when none does. */
  readonly waiting: number;
  readonly oldestWaitingAtMs: number | null;
}

const rfc3339 = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

const recordColumns = `o.operation_id as "operationId", ${rfc3339("o.at")} as at, o.subject, o.action, o.target, o.reason,
  o.ticket, o.before::text as before, o.after::text as after`;

/** Tenants of which something is not sealed yet, and about since when. */
export async function readUnsealedTenants(
  db: ReadPool,
): Promise<{ readonly tenantId: number; readonly oldestMs: number }[]> {
  const { rows } = await db.query<{ tenant_id: number; oldest_ms: number }>({
    name: "read_unsealed_tenants",
    // From one tenant that has some to the next: with nothing to seal it is one look, however many tenants there are.
    text: `
      with recursive waiting as (
        (select tenant_id, at from operation where seal_number is null order by tenant_id, operation_id limit 1)
        union all
        select next.* from waiting w cross join lateral (
          select tenant_id, at from operation where seal_number is null and tenant_id > w.tenant_id
          order by tenant_id, operation_id limit 1
        ) next
      )
      select tenant_id, ${toMs("at")} as oldest_ms from waiting`,
  });
  return rows.map((row) => ({ tenantId: row.tenant_id, oldestMs: row.oldest_ms }));
}

/** Tenants of which something is sealed. */
export async function readSealedTenants(db: ReadPool): Promise<number[]> {
  const { rows } = await db.query<{ tenant_id: number }>({
    name: "read_sealed_tenants",
    text: `select tenant_id from tenant t
      where exists (select from audit_seal s where s.tenant_id = t.tenant_id and s.number > 0)`,
  });
  return rows.map((row) => row.tenant_id);
}

/**
 * One statement: nothing that a seal has taken meanwhile is answered beside the seal before.
 *
 * @param seenNumber of a seal to answer too
 */
export async function readUnsealed(
  db: ReadPool,
  tenantId: number,
  seenNumber: number,
  limit: number,
): Promise<Unsealed> {
  const { rows } = await db.query<
    { tenant: string; number: string; seal: string; seen: string | null; now: string } & {
      [Field in keyof OperationRecord]: OperationRecord[Field] | null;
    }
  >({
    name: "read_unsealed",
    text: `
      select t.name as tenant, coalesce(s.number, 0) as number, coalesce(s.seal, '') as seal, ${rfc3339("now()")} as now,
        (select seal from audit_seal where tenant_id = $1 and number = $2) as seen, ${recordColumns}
      from tenant t
      left join lateral (
        select number, seal from audit_seal where tenant_id = t.tenant_id order by number desc limit 1
      ) s on true
      left join lateral (
        select * from operation where tenant_id = t.tenant_id and seal_number is null order by operation_id limit $3
      ) o on true
      where t.tenant_id = $1
      order by o.operation_id`,
    values: [tenantId, seenNumber, limit],
  });
  const first = rows[0];
  if (!first) throw new Error(`There is no tenant ${tenantId}.`);
  return {
    tenant: first.tenant,
    last: { number: Number(first.number), seal: first.seal },
    seen: first.seen,
    now: first.now,
    operations: rows.filter((row) => row.operationId !== null).map(toRecord),
  };
}

/**
 * Answers whether it was written: not when another hub has made a seal of this number.
 *
 * @throws when what it seals is not there any more, and then nothing is written: somebody changed the ledger by hand
 */
export async function writeSeal(
  db: ReadPool,
  tenantId: number,
  number: number,
  seal: string,
  operationIds: readonly string[],
): Promise<boolean> {
  // What is asked of an operation besides its id no index has: that of all that waits was walked for each.
  const { rowCount } = await db.query({
    name: "write_seal",
    text: `
      with made as (
        insert into audit_seal (tenant_id, number, seal) values ($1, $2, $3) on conflict do nothing returning number
      ), sealed as (
        update operation o set seal_number = m.number from made m cross join unnest($4::uuid[]) as i (id)
        where ${isByKey("o.operation_id", "i.id")}
          and (o.tenant_id, o.seal_number) is not distinct from ($1::integer, null::bigint)
        returning 1
      )
      select case when (select count(*) from sealed) <> $5 then try_again() end from made`,
    values: [tenantId, number, seal, uuidArray(operationIds), operationIds.length],
  });
  return rowCount === 1;
}

export async function readAuditHead(db: ReadPool, tenantId: number, countMax: number): Promise<AuditHead> {
  const { rows } = await db.query<{ seal: string | null; waiting: number; oldest_ms: number | null }>({
    name: "read_audit_head",
    text: `
      select (select seal from audit_seal where tenant_id = $1 order by number desc limit 1) as seal,
        count(*)::integer as waiting, ${toMs("min(at)")} as oldest_ms
      from (select at from operation where tenant_id = $1 and seal_number is null order by operation_id limit $2) waiting`,
    values: [tenantId, countMax],
  });
  const { seal = null, waiting = 0, oldest_ms: oldestWaitingAtMs = null } = rows[0] ?? {};
  return { seal, waiting, oldestWaitingAtMs };
}

/** Seals alone, in order, from a number on. */
export async function readSealTexts(
  db: ReadPool,
  tenantId: number,
  from: number,
  limit: number,
): Promise<{ readonly number: number; readonly seal: string }[]> {
  const { rows } = await db.query<{ number: string; seal: string }>({
    name: "read_seal_texts",
    text: "select number, seal from audit_seal where tenant_id = $1 and number >= $2 order by number limit $3",
    values: [tenantId, from, limit],
  });
  return rows.map(({ number, seal }) => ({ number: Number(number), seal }));
}

/** Seals with their operations, both in order, from a number on. */
export async function readSeals(
  db: ReadPool,
  tenantId: number,
  from: number,
  limit: number,
): Promise<{ readonly number: number; readonly seal: string; readonly operations: OperationRecord[] }[]> {
  const { rows } = await db.query<
    { number: string; seal: string } & { [Field in keyof OperationRecord]: OperationRecord[Field] | null }
  >({
    name: "read_seals",
    text: `
      select s.number, s.seal, ${recordColumns}
      from (select * from audit_seal where tenant_id = $1 and number >= $2 order by number limit $3) s
      left join operation o on o.tenant_id = s.tenant_id and o.seal_number = s.number
      order by s.number, o.operation_id`,
    values: [tenantId, from, limit],
  });
  const seals: { number: number; seal: string; operations: OperationRecord[] }[] = [];
  for (const row of rows) {
    const number = Number(row.number);
    if (seals.at(-1)?.number !== number) seals.push({ number, seal: row.seal, operations: [] });
    if (row.operationId !== null) seals.at(-1)?.operations.push(toRecord(row));
  }
  return seals;
}

function toRecord(row: { [Field in keyof OperationRecord]: OperationRecord[Field] | null }): OperationRecord {
  const { operationId, at, subject, action, target, reason, ticket, before, after } = row as OperationRecord;
  return { operationId, at, subject, action, target, reason, ticket, before, after };
}
