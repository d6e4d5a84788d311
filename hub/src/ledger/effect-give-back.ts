import { EffectState } from "../domain/effect.js";
import { JobNoteType } from "../domain/job-note.js";
import {
  type EffectItem,
  effectColumnNames,
  effectColumns,
  effectColumnTypes,
  effectItemBytes,
  isFenced,
  isNamed,
  leasedItems,
  noJob,
} from "./effect-items.js";
import { type JudgedEffect, judgeEffects } from "./effect-judge.js";
import { answerToAct, type EffectRefusal, type EffectWritten } from "./effect-refusal.js";
import type { BatchStatement } from "./group-commit.js";
import { writeNotes } from "./job-notes.js";
import { recordOperations } from "./operations.js";
import { numberArray } from "./sql-text.js";

export interface GiveBackEffectItem extends EffectItem {
  /** null: an operator takes it away, whoever holds it. */
  readonly effectToken: bigint | null;
  /** Why it is given up; null: it is merely released. */
  readonly reason: string | null;
}

export type GiveBackEffectResult = EffectWritten | EffectRefusal;

const giveBackText = `
with input as (
  select * from unnest(${effectColumnTypes(1)}, $8::bigint[], $9::text[])
    with ordinality as i (${effectColumnNames}, effect_token, reason, ordinal)
), ${leasedItems("share")}, opened as (
  update effect e set state = ${EffectState.Open},
    abandoned_at = case when i.reason is null then e.abandoned_at else now() end,
    abandoned_by = case when i.reason is null then e.abandoned_by else i.subject end,
    abandon_reason = coalesce(i.reason, e.abandon_reason)
  from input i
  where ${isNamed} and e.state = ${EffectState.Held} and (i.effect_token is null
    or (e.effect_token = i.effect_token and e.subject = i.subject and ${isFenced}))
  returning i.ordinal, e.tenant_id, e.job_id, e.scope, e.key, e.effect_token, e.subject as holder, e.expires_at,
    i.subject, i.reason, i.effect_token is null as is_taken_away
), changed as (
  select tenant_id as operation_tenant, 'effect.abandon' as action,
    'effect:' || case when job_id = ${noJob} then scope else 'job:' || job_id end || '/' || key as target,
    jsonb_build_object('state', 'held', 'holder', holder, 'effectToken', effect_token, 'heldUntil', expires_at) as before,
    jsonb_build_object('state', 'open', 'effectToken', effect_token) as after,
    subject, reason, '' as ticket
  from opened where is_taken_away
), ${recordOperations("changed")}, told as (
  select job_id, ${JobNoteType.EffectAbandoned}::smallint as type, key as name, 0 as bytes
  from opened where reason is not null and job_id <> ${noJob}
), ${writeNotes("told")}
select ordinal::integer from opened`;

/** Opens held effects again: released by their holders, or given up for a reason by them or an operator. */
export const giveBackEffects: BatchStatement<GiveBackEffectItem, GiveBackEffectResult> = {
  name: "give_back_effects",
  itemsMax: 256,
  bytesMax: 4 << 20,
  bytesOf: (item) => effectItemBytes(item) + (item.reason?.length ?? 0),
  run: async (on, items) => {
    const { rows } = await on.connection.query<{ ordinal: number }>({
      name: "give_back_effects",
      text: giveBackText,
      values: [
        ...effectColumns(items),
        numberArray(items.map((item) => item.effectToken)),
        items.map((item) => item.reason),
      ],
    });
    const opened = new Set(rows.map((row) => items[row.ordinal - 1]));
    const refused = items.filter((item) => !opened.has(item));
    const judged = await judgeEffects(on, refused, ({ subject, effectToken }) =>
      effectToken === null ? { type: "take_away" } : { type: "give_back", subject, effectToken },
    );
    const results = items.map((item): GiveBackEffectResult => {
      if (opened.has(item)) return { type: "written", isExisting: false };
      return answerToAct(judged.shift() as JudgedEffect);
    });
    return { results, wrotePage: false };
  },
};
