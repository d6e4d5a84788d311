import type { ApiKeyView } from "../domain/api-key.js";
import type { Operator } from "../domain/operation.js";
import type { Scope } from "../domain/scope.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";

interface KeyRow {
  readonly key_id: string;
  readonly tenant_id: number;
  readonly tenant: string;
  readonly subject: string;
  readonly scopes: Scope[];
  readonly kinds: string[];
  readonly created_at_ms: number;
  readonly expires_at_ms: number | null;
  readonly revoked_at_ms: number | null;
  readonly secret_hash: Buffer;
}

const keyColumns = `
  k.key_id, k.tenant_id, t.name as tenant, k.subject, k.scopes, k.kinds, k.secret_hash,
  ${toMs("k.created_at")} as created_at_ms, ${toMs("k.expires_at")} as expires_at_ms,
  ${toMs("k.revoked_at")} as revoked_at_ms`;

function toView(row: KeyRow): ApiKeyView {
  return {
    keyId: row.key_id,
    tenantId: row.tenant_id,
    tenant: row.tenant,
    subject: row.subject,
    scopes: row.scopes,
    kinds: row.kinds,
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms,
  };
}

export async function hasKeys(db: ReadPool): Promise<boolean> {
  return (
    (await db.query<{ any: boolean }>("select exists (select from api_key) as any")).rows[0]?.any ?? false
  );
}

/** A key that is good now, by the ledger's clock, with the hash of its secret. */
export async function findGoodKey(
  db: ReadPool,
  keyId: string,
): Promise<{ key: ApiKeyView; secretHash: Buffer } | null> {
  const { rows } = await db.query<KeyRow>({
    name: "find_good_key",
    text: `select ${keyColumns} from api_key k join tenant t using (tenant_id)
      where k.key_id = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())`,
    values: [keyId],
  });
  return rows[0] ? { key: toView(rows[0]), secretHash: rows[0].secret_hash } : null;
}

/** Those of the keys that are good now, by the ledger's clock. */
export async function readGoodKeys(db: ReadPool, keyIds: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ key_id: string }>({
    name: "read_good_keys",
    text: `select key_id from api_key
      where key_id = any($1) and revoked_at is null and (expires_at is null or expires_at > now())`,
    values: [keyIds],
  });
  return new Set(rows.map((row) => row.key_id));
}

export interface NewKey {
  readonly keyId: string;
  readonly tenant: string;
  readonly subject: string;
  readonly scopes: readonly Scope[];
  readonly kinds: readonly string[];
  readonly secretHash: Buffer;
  readonly expiresAtMs: number | null;
}

/** What is kept of a key `k` of tenant `t` among the operations: all but what its secret is told by. */
const recordedKey = `jsonb_strip_nulls(jsonb_build_object('tenant', t.name, 'subject', k.subject, 'scopes', k.scopes,
         'kinds', k.kinds, 'expiresAt', k.expires_at, 'revokedAt', k.revoked_at))`;

/** The tenant of the operator, a parameter, where the key `k` is another's. */
const byTenant = (operator: string) => `jsonb_strip_nulls(jsonb_build_object('byTenant',
         (select name from tenant where tenant_id = ${operator} and tenant_id <> k.tenant_id)))`;

/** Makes a key, and its tenant when it is new. */
export async function insertKey(db: ReadPool, operator: Operator, key: NewKey): Promise<ApiKeyView> {
  await db.query("insert into tenant (name) values ($1) on conflict do nothing", [key.tenant]);
  const { rows } = await db.query<KeyRow>(
    `with k as (
       insert into api_key (key_id, tenant_id, subject, scopes, kinds, secret_hash, expires_at)
       select $1, tenant_id, $3, $4, $5, $6, to_timestamp($7::float8 / 1000) from tenant where name = $2
       returning *
     ), changed as (
       select tenant_id as operation_tenant, 'key.create' as action, 'key:' || key_id as target, null::jsonb as before,
         ${recordedKey} || ${byTenant("$8")} as after
       from k join tenant t using (tenant_id)
     ), ${recordOperation("changed", 9)}
     select ${keyColumns} from k join tenant t using (tenant_id)`,
    [
      ...[key.keyId, key.tenant, key.subject, key.scopes, key.kinds, key.secretHash, key.expiresAtMs],
      operator.tenantId,
      ...operatorValues(operator),
    ],
  );
  if (!rows[0]) throw new Error("The key was not written.");
  return toView(rows[0]);
}

/** Newest first; pages by the last row's creation time and id. */
export async function listKeys(
  db: ReadPool,
  tenantId: number,
  before: { readonly createdAtMs: number; readonly keyId: string } | null,
  limit: number,
): Promise<ApiKeyView[]> {
  const { rows } = await db.query<KeyRow>(
    `select ${keyColumns} from api_key k join tenant t using (tenant_id)
     where k.tenant_id = $1 and ($2::float8 is null or (${toMs("k.created_at")}, k.key_id) < ($2, $3))
     order by k.created_at desc, k.key_id desc limit $4`,
    [tenantId, before?.createdAtMs ?? null, before?.keyId ?? "", limit],
  );
  return rows.map(toView);
}

/**
 * Revokes a key that is not revoked; null when there is none.
 *
 * @param tenantId whose key it must be; null: anybody's
 */
export async function revokeKey(
  db: ReadPool,
  operator: Operator,
  tenantId: number | null,
  keyId: string,
): Promise<ApiKeyView | null> {
  const { rows } = await db.query<KeyRow>(
    `with found as materialized (
       select * from api_key where key_id = $2 and tenant_id = coalesce($1, tenant_id) for no key update
     ), revoked as (
       update api_key k set revoked_at = now() from found f
       where ${isByKey("k.key_id", "f.key_id")} and f.revoked_at is null
       returning k.*
     ), changed as (
       select tenant_id as operation_tenant, 'key.revoke' as action, 'key:' || key_id as target,
         ${recordedKey} - 'revokedAt' as before, ${recordedKey} || ${byTenant("$3")} as after
       from revoked k join tenant t using (tenant_id)
     ), ${recordOperation("changed", 4)}
     select ${keyColumns}
     from (select * from revoked union all select * from found where revoked_at is not null) k
     join tenant t using (tenant_id)`,
    [tenantId, keyId, operator.tenantId, ...operatorValues(operator)],
  );
  return rows[0] ? toView(rows[0]) : null;
}

export async function findTenant(db: ReadPool, name: string): Promise<number | null> {
  const { rows } = await db.query<{ tenant_id: number }>("select tenant_id from tenant where name = $1", [
    name,
  ]);
  return rows[0]?.tenant_id ?? null;
}
