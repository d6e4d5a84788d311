import { EffectState } from "../domain/effect.js";
import {
  type EffectItem,
  effectColumnNames,
  effectColumns,
  effectColumnTypes,
  effectItemBytes,
  isFenced,
  leasedItems,
} from "./effect-items.js";
import { type JudgedEffect, judgeEffects, type StandingEffect } from "./effect-judge.js";
import type { BatchStatement } from "./group-commit.js";
import { numberArray, toMs } from "./sql-text.js";

export interface ClaimEffectItem extends EffectItem {
  readonly requestId: string;
  readonly ttlMs: number;
}

/** The answer to a claim (D16). */
export type ClaimEffectResult =
  | {
      readonly type: "acquired";
      readonly effectToken: bigint;
      readonly heldUntilMs: number;
      readonly timeLeftMs: number;
      readonly isTakenOver: boolean;
    }
  | {
      readonly type: "held";
      readonly heldUntilMs: number;
      readonly timeLeftMs: number;
      readonly holder: StandingEffect["holder"];
    }
  | {
      readonly type: "completed";
      readonly result: Uint8Array;
      readonly contentType: string;
      readonly completedAtMs: number;
    }
  | { readonly type: "stale" }
  | { readonly type: "no_job" };

// Of several claims of one effect the first that is fenced is tried: the others find it held, as if they had come
// after. The insert waits for a claim of another hub, and then judges the row as that one left it.
const claimText = `
with input as (
  select * from unnest(${effectColumnTypes(1)}, $8::text[], $9::float8[])
    with ordinality as i (${effectColumnNames}, request_id, ttl_ms, ordinal)
), ${leasedItems("share")}, tried as (
  select distinct on (i.tenant_id, i.job_id, i.scope, i.key) * from input i where ${isFenced}
  order by i.tenant_id, i.job_id, i.scope, i.key, i.ordinal
), claimed as (
  insert into effect as e (tenant_id, job_id, scope, key, state, subject, session_id, request_id, expires_at)
  select tenant_id, job_id, scope, key, ${EffectState.Held}, subject, session_id, request_id,
    now() + ttl_ms * interval '1 ms'
  from tried
  on conflict (tenant_id, job_id, scope, key) do update set
    state = ${EffectState.Held}, effect_token = e.effect_token + 1, subject = excluded.subject,
    session_id = excluded.session_id, request_id = excluded.request_id, claimed_at = now(),
    expires_at = excluded.expires_at, is_taken_over = e.state = ${EffectState.Held}
  where e.state = ${EffectState.Open} or (e.state = ${EffectState.Held} and e.expires_at <= now())
  returning *
)
select i.ordinal::integer, e.effect_token, ${toMs("e.expires_at")} as expires_at_ms, e.is_taken_over
from tried i join claimed e using (tenant_id, job_id, scope, key)`;

/** Claims effects: the one statement by which an effect comes into somebody's hands (D16, D17). */
export const claimEffects: BatchStatement<ClaimEffectItem, ClaimEffectResult> = {
  name: "claim_effects",
  itemsMax: 256,
  bytesMax: 4 << 20,
  bytesOf: effectItemBytes,
  run: async (on, items) => {
    const { rows } = await on.connection.query<{
      ordinal: number;
      effect_token: string;
      expires_at_ms: number;
      is_taken_over: boolean;
    }>({
      name: "claim_effects",
      text: claimText,
      values: [
        ...effectColumns(items),
        items.map((item) => item.requestId),
        numberArray(items.map((item) => item.ttlMs)),
      ],
    });
    const claimed = new Map(rows.map((row) => [items[row.ordinal - 1], row]));
    const refused = items.filter((item) => !claimed.has(item));
    const judged = await judgeEffects(on, refused, ({ subject, requestId }) => ({
      type: "claim",
      subject,
      requestId,
    }));
    const results = items.map((item): ClaimEffectResult => {
      const row = claimed.get(item);
      if (!row) return judgeClaim(judged.shift() as JudgedEffect);
      return {
        type: "acquired",
        effectToken: BigInt(row.effect_token),
        heldUntilMs: row.expires_at_ms,
        timeLeftMs: item.ttlMs,
        isTakenOver: row.is_taken_over,
      };
    });
    return { results, wrotePage: false };
  },
};

function judgeClaim({ decision, hasJob, standing }: JudgedEffect): ClaimEffectResult {
  if (!hasJob) return { type: "no_job" };
  if (!standing || decision.type === "stale") return { type: "stale" };
  const { effectToken, heldUntilMs, timeLeftMs, isTakenOver, holder } = standing;
  switch (decision.type) {
    case "repeated":
      return { type: "acquired", effectToken, heldUntilMs, timeLeftMs, isTakenOver };
    case "completed": {
      const { result, contentType, completedAtMs } = standing;
      return { type: "completed", result, contentType, completedAtMs: completedAtMs ?? 0 };
    }
    default:
      // It may have come free since the statement looked: then no time is left, and the next claim gets it.
      return { type: "held", heldUntilMs, timeLeftMs, holder };
  }
}
