import type { OperationView, Operator } from "../domain/operation.js";
import type { ReadPool } from "./read-pool.js";
import { toMs } from "./sql-text.js";

/**
 * The part of a statement that keeps what an operator changed, to be followed by other parts. `source` names a part that
 * yields, for each change: operation_tenant, action, target, before, after; the last two may be null.
 *
 * @param first number of the first of three parameters: those of `operatorValues`
 */
export function recordOperation(source: string, first: number): string {
  return recordOperations(
    `(select *, $${first}::text as subject, $${first + 1}::text as reason, $${first + 2}::text as ticket from ${source}) c`,
  );
}

/** The same for a statement that several operators share: `source` also yields subject, reason and ticket. */
export function recordOperations(source: string): string {
  return `
  operations as (
    insert into operation (operation_id, tenant_id, subject, action, target, reason, ticket, before, after)
    select new_operation_id(), operation_tenant, subject, action, target, reason, ticket, before::jsonb, after::jsonb
    from ${source}
  )`;
}

/** Parameters of `recordOperation`, in order. */
export function operatorValues({ subject, reason, ticket }: Operator): [string, string, string] {
  return [subject, reason, ticket];
}

interface OperationRow extends Omit<OperationView, "operationId" | "atMs"> {
  readonly operation_id: string;
  readonly at_ms: number;
}

/** Newest first; `target` "" means any. An index walk. */
export async function listOperations(
  db: ReadPool,
  tenantId: number,
  target: string,
  beforeId: string,
  limit: number,
): Promise<OperationView[]> {
  const { rows } = await db.query<OperationRow>({
    name: "list_operations",
    text: `select operation_id, ${toMs("at")} as at_ms, subject, action, target, reason, ticket, before, after
      from operation
      where tenant_id = $1 and operation_id < $2 and ($3 = '' or target = $3)
      order by operation_id desc limit $4`,
    values: [tenantId, beforeId, target, limit],
  });
  return rows.map(({ operation_id, at_ms, ...row }) => ({
    operationId: operation_id,
    atMs: at_ms,
    ...row,
  }));
}
