import { decideEffect, type EffectAct, type EffectDecision, type EffectState } from "../domain/effect.js";
import type { EffectHolder } from "../domain/effect-view.js";
import {
  type EffectItem,
  effectColumnNames,
  effectColumns,
  effectColumnTypes,
  isNamed,
  joinLease,
  noJob,
} from "./effect-items.js";
import type { BatchContext } from "./group-commit.js";
import { toMs } from "./sql-text.js";

/** What a refused act met. */
export interface JudgedEffect {
  readonly decision: EffectDecision;
  /** False: the tenant has no such job. */
  readonly hasJob: boolean;
  /** The effect as it is; null when there is none. */
  readonly standing: StandingEffect | null;
}

export interface StandingEffect {
  readonly effectToken: bigint;
  readonly holder: EffectHolder;
  readonly heldUntilMs: number;
  readonly timeLeftMs: number;
  readonly isTakenOver: boolean;
  readonly completedAtMs: number | null;
  readonly result: Uint8Array;
  readonly contentType: string;
}

// Jobs are looked up row by row. An "exists" here would let the planner read the whole table into a hash.
const judgeText = `
with input as (
  select * from unnest(${effectColumnTypes(1)}) with ordinality as i (${effectColumnNames}, ordinal)
)
select e.state, e.effect_token, e.subject, e.session_id, e.request_id, encode(e.fingerprint, 'hex') as fingerprint,
  case when $8 then e.result end as result, e.content_type, e.is_taken_over, ${toMs("e.expires_at")} as expires_at_ms,
  ${toMs("e.completed_at")} as completed_at_ms, ${toMs("now()")} as now_ms,
  coalesce(i.job_id = ${noJob} or (select true from job j where j.id = i.job_id and j.tenant_id = i.tenant_id),
    false) as has_job,
  coalesce(i.job_id = ${noJob} or (select true from (select i.*) i ${joinLease}), false) as is_leased
from input i left join effect e on ${isNamed}
order by i.ordinal`;

interface JudgedRow {
  readonly state: EffectState | null;
  readonly effect_token: string;
  readonly subject: string;
  readonly session_id: string | null;
  readonly request_id: string;
  readonly fingerprint: string | null;
  readonly result: Buffer | null;
  readonly content_type: string | null;
  readonly is_taken_over: boolean;
  readonly expires_at_ms: number;
  readonly completed_at_ms: number | null;
  readonly now_ms: number;
  readonly has_job: boolean;
  readonly is_leased: boolean;
}

/** Says why a statement did nothing for these items, by the rules of `decideEffect`. */
export async function judgeEffects<Item extends EffectItem>(
  on: BatchContext,
  items: readonly Item[],
  actOf: (item: Item) => EffectAct,
): Promise<JudgedEffect[]> {
  if (items.length === 0) return [];
  const wantsResult = items.some((item) => actOf(item).type === "claim");
  const { rows } = await on.connection.query<JudgedRow>({
    name: "judge_effects",
    text: judgeText,
    values: [...effectColumns(items), wantsResult],
  });
  return items.map((item, at) => {
    const row = rows[at] as JudgedRow;
    const record =
      row.state === null
        ? null
        : {
            state: row.state,
            effectToken: BigInt(row.effect_token),
            subject: row.subject,
            requestId: row.request_id,
            heldUntilMs: row.expires_at_ms,
            fingerprint: row.fingerprint,
          };
    return {
      decision: decideEffect(record, actOf(item), row.now_ms, row.is_leased),
      hasJob: row.has_job,
      standing: record && {
        effectToken: record.effectToken,
        holder: { subject: row.subject, sessionId: row.session_id },
        heldUntilMs: row.expires_at_ms,
        timeLeftMs: Math.max(0, row.expires_at_ms - row.now_ms),
        isTakenOver: row.is_taken_over,
        completedAtMs: row.completed_at_ms,
        result: row.result ?? new Uint8Array(),
        contentType: row.content_type ?? "",
      },
    };
  });
}
