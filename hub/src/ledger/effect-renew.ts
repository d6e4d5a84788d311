import { EffectState } from "../domain/effect.js";
import {
  type EffectItem,
  effectColumnNames,
  effectColumns,
  effectColumnTypes,
  effectItemBytes,
  isFenced,
  isNamed,
  leasedItems,
} from "./effect-items.js";
import { type JudgedEffect, judgeEffects } from "./effect-judge.js";
import { type EffectRefusal, refusalOfAct } from "./effect-refusal.js";
import type { BatchStatement } from "./group-commit.js";
import { numberArray, toMs } from "./sql-text.js";

export interface RenewEffectItem extends EffectItem {
  readonly effectToken: bigint;
  readonly ttlMs: number;
}

export type RenewEffectResult =
  | { readonly type: "renewed"; readonly heldUntilMs: number; readonly timeLeftMs: number }
  | EffectRefusal;

const renewText = `
with input as (
  select * from unnest(${effectColumnTypes(1)}, $8::bigint[], $9::float8[])
    with ordinality as i (${effectColumnNames}, effect_token, ttl_ms, ordinal)
), ${leasedItems("share")}
update effect e set expires_at = now() + i.ttl_ms * interval '1 ms'
from input i
where ${isNamed} and e.effect_token = i.effect_token and e.subject = i.subject and e.state = ${EffectState.Held}
  and ${isFenced}
returning i.ordinal::integer, ${toMs("e.expires_at")} as expires_at_ms`;

/** Renews the leases of held effects, also of those that ran out and were not taken over. */
export const renewEffects: BatchStatement<RenewEffectItem, RenewEffectResult> = {
  name: "renew_effects",
  itemsMax: 256,
  bytesMax: 4 << 20,
  bytesOf: effectItemBytes,
  run: async (on, items) => {
    const { rows } = await on.connection.query<{ ordinal: number; expires_at_ms: number }>({
      name: "renew_effects",
      text: renewText,
      values: [
        ...effectColumns(items),
        numberArray(items.map((item) => item.effectToken)),
        numberArray(items.map((item) => item.ttlMs)),
      ],
    });
    const renewed = new Map(rows.map((row) => [items[row.ordinal - 1], row.expires_at_ms]));
    const refused = items.filter((item) => !renewed.has(item));
    const judged = await judgeEffects(on, refused, ({ subject, effectToken }) => ({
      type: "renew",
      subject,
      effectToken,
    }));
    const results = items.map((item): RenewEffectResult => {
      const heldUntilMs = renewed.get(item);
      if (heldUntilMs === undefined) return judgeRenewal(judged.shift() as JudgedEffect);
      return { type: "renewed", heldUntilMs, timeLeftMs: item.ttlMs };
    });
    return { results, wrotePage: false };
  },
};

function judgeRenewal(judged: JudgedEffect): RenewEffectResult {
  // Another renewal under the same token, in the same batch, was the one that the statement made.
  if (judged.decision.type === "changed" && judged.standing) {
    const { heldUntilMs, timeLeftMs } = judged.standing;
    return { type: "renewed", heldUntilMs, timeLeftMs };
  }
  return refusalOfAct(judged);
}
