import type { Operator } from "../domain/operation.js";
import type { Product, WeightChange } from "../domain/product.js";
import type { ScoreWeights } from "../domain/score-weights.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { fromMs, toMs } from "./sql-text.js";

interface ProductRow {
  readonly tenant_id: number;
  readonly name: string;
  readonly weights: Partial<ScoreWeights>;
  readonly changed_at_ms: number;
}

const productColumns = `tenant_id, name, weights, ${toMs("changed_at")} as changed_at_ms`;

function toProduct(row: ProductRow): Product {
  return {
    tenantId: row.tenant_id,
    name: row.name,
    weights: row.weights,
    changedAtMs: row.changed_at_ms,
  };
}

/** Products that were changed since a time of the ledger's clock, and that clock's time now. */
export async function readProductsSince(
  db: ReadPool,
  sinceMs: number,
): Promise<{ readonly products: readonly Product[]; readonly nowMs: number }> {
  const { rows } = await db.query<ProductRow & { now_ms: number; name: string | null }>({
    name: "read_products_since",
    text: `select p.*, ${toMs("now()")} as now_ms from (select) one
      left join (select ${productColumns} from product where changed_at > ${fromMs("$1::float8")}) p on true`,
    values: [sinceMs],
  });
  return {
    products: rows.filter((row) => row.name !== null).map(toProduct),
    nowMs: rows[0]?.now_ms ?? sinceMs,
  };
}

/** One product; null when nothing was ever set for it. */
export async function readProduct(db: ReadPool, tenantId: number, name: string): Promise<Product | null> {
  const { rows } = await db.query<ProductRow>({
    name: "read_product",
    text: `select ${productColumns} from product where tenant_id = $1 and name = $2`,
    values: [tenantId, name],
  });
  return rows[0] ? toProduct(rows[0]) : null;
}

/** By name. */
export async function listProducts(
  db: ReadPool,
  tenantId: number,
  afterName: string,
  limit: number,
): Promise<Product[]> {
  const { rows } = await db.query<ProductRow>({
    name: "list_products",
    text: `select ${productColumns} from product where tenant_id = $1 and name > $2 order by name limit $3`,
    values: [tenantId, afterName, limit],
  });
  return rows.map(toProduct);
}

/** Changes weights of a product; null when it would be one product more than the tenant may have. */
export async function setProductWeights(
  db: ReadPool,
  operator: Operator,
  name: string,
  { set, clear }: WeightChange,
  productsMax: number,
): Promise<Product | null> {
  const { rows } = await db.query<ProductRow>({
    name: "set_product_weights",
    text: `
      with before as materialized (
        select weights from product where tenant_id = $1 and name = $2 for update
      ), made as (
        insert into product (tenant_id, name, weights)
        select $1, $2, $3::jsonb
        where exists (select from before) or (select count(*) from product where tenant_id = $1) < $5
        on conflict (tenant_id, name)
          do update set weights = (product.weights || $3::jsonb) - $4::text[], changed_at = clock_timestamp()
        returning *
      ), changed as (
        select tenant_id as operation_tenant, 'product.weights'::text as action, 'product:' || name as target,
          (select weights from before) as before, weights as after
        from made
      ), ${recordOperation("changed", 6)}
      select ${productColumns} from made`,
    values: [
      operator.tenantId,
      name,
      JSON.stringify(set),
      [...clear],
      productsMax,
      ...operatorValues(operator),
    ],
  });
  return rows[0] ? toProduct(rows[0]) : null;
}
