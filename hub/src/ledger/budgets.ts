import { GateType } from "../domain/gate.js";
import type { Spend } from "../domain/job-spec.js";
import type { ReadLevel } from "../domain/meter.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";

export interface Accrual extends Spend {
  readonly tenantId: number;
  /** Accruing again with the same id and the same content changes nothing. */
  readonly requestId: string;
  readonly product: string;
  /** For people: what it was spent on. */
  readonly note: string;
}

/** "conflict": the id was used for another spend. */
export type AccrueResult = "accrued" | "duplicate" | "conflict" | "budget_not_found";

/** Spend that came from outside of attempts counts in the window of the product's budget, once per request. */
export async function accrueSpend(db: ReadPool, accrual: Accrual): Promise<AccrueResult> {
  const { rows } = await db.query<{ is_found: boolean; is_new: boolean; is_same: boolean | null }>({
    name: "accrue_spend",
    text: `
      with budget as materialized (
        select gate_id, tenant_id, window_start(settings, now()) as began_at from gate
        where tenant_id = $1 and type = ${GateType.Budget} and target = 'product:' || $3
      ), made as (
        insert into accrual (tenant_id, request_id, product, cost, tokens, note)
        select $1, $2, $3, $4, $5, $6 from budget
        on conflict (tenant_id, request_id) do nothing
        returning cost, tokens
      ), counted as (
        insert into meter as m (meter_id, tenant_id, window_began_at, spent_cost, spent_tokens)
        select b.gate_id, b.tenant_id, b.began_at, made.cost, made.tokens from budget b, made
        on conflict (meter_id) do update set
          spent_cost = case when m.window_began_at >= excluded.window_began_at then m.spent_cost else 0 end
            + excluded.spent_cost,
          spent_tokens = case when m.window_began_at >= excluded.window_began_at then m.spent_tokens else 0 end
            + excluded.spent_tokens,
          window_began_at = greatest(m.window_began_at, excluded.window_began_at)
      )
      select exists (select from budget) as is_found, exists (select from made) as is_new,
        (select (product, cost, tokens) = ($3::text, $4::bigint, $5::bigint) from accrual
          where tenant_id = $1 and request_id = $2) as is_same`,
    values: [
      accrual.tenantId,
      accrual.requestId,
      accrual.product,
      accrual.costMicroUsd,
      accrual.tokens,
      accrual.note,
    ],
  });
  const [row] = rows;
  if (row?.is_new) return "accrued";
  if (row?.is_same === false) return "conflict";
  if (!row?.is_found) return "budget_not_found";
  // The one who was first may have committed after this statement began to look.
  return row.is_same === null ? accrueSpend(db, accrual) : "duplicate";
}

/** What operators are told of a budget, once per window. */
export type BudgetNotice = "nearly_spent" | "spent";

/** Keeps a notice among the operations of the tenant; false when it was told before, by whichever hub. */
export async function tellBudget(db: ReadPool, level: ReadLevel, notice: BudgetNotice): Promise<boolean> {
  const isSpent = notice === "spent";
  const { rows } = await db.query({
    name: "tell_budget",
    text: `
      with told as (
        update meter set warned_window = to_timestamp($2::float8 / 1000),
          exhausted_window = case when $3 then to_timestamp($2::float8 / 1000) else exhausted_window end
        where meter_id = $1
          and case when $3 then exhausted_window else warned_window end < to_timestamp($2::float8 / 1000)
        returning tenant_id
      ), changed as (
        select tenant_id as operation_tenant, $7::text as action, $8::text as target, null::jsonb as before,
          $9::jsonb as after
        from told
      ), ${recordOperation("changed", 4)}
      select tenant_id from told`,
    values: [
      level.meterId,
      level.windowBeganAtMs,
      isSpent,
      ...operatorValues({
        tenantId: level.tenantId,
        subject: "holdfast",
        reason: isSpent ? "the ceiling is reached" : `${level.alertPercent} percent of the ceiling are taken`,
        ticket: "",
      }),
      isSpent ? "budget.spent" : "budget.alert",
      level.target,
      JSON.stringify({ costMicroUsd: level.cost, tokens: level.tokens, ...level.limits }),
    ],
  });
  return rows.length > 0;
}

/** Whether the ledger, which turns the windows, knows a time zone. */
export async function isTimeZone(db: ReadPool, name: string): Promise<boolean> {
  const { rows } = await db.query({
    name: "is_time_zone",
    text: "select from pg_timezone_names where name = $1",
    values: [name],
  });
  return rows.length > 0;
}
