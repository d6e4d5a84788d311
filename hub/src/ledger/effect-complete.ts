import { EffectState, effectFingerprint } from "../domain/effect.js";
import { JobNoteType } from "../domain/job-note.js";
import { JobEventType } from "../domain/job-state.js";
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
import { isByKey, numberArray, packBytes, writePage } from "./sql-text.js";

export interface CompleteEffectItem extends EffectItem {
  readonly effectToken: bigint;
  readonly result: Uint8Array;
  readonly contentType: string;
}

export type CompleteEffectResult = EffectWritten | EffectRefusal;

// Several effects of one job may be completed at once. Each has its own event and revision; they lie in one page, and
// the first of them carries the link to the page before.
const completeText = `
with input as (
  select * from unnest(${effectColumnTypes(3)}, $10::bigint[], $11::integer[], $12::integer[], $13::text[], $14::text[])
    with ordinality as i (${effectColumnNames}, effect_token, result_offset, result_length, content_type, fingerprint,
      ordinal)
), ${leasedItems("no key update")}, completed as (
  update effect e set state = ${EffectState.Completed}, completed_at = now(), content_type = i.content_type,
    fingerprint = decode(i.fingerprint, 'hex'),
    result = substring($15::bytea from i.result_offset + 1 for i.result_length)
  from input i
  where ${isNamed} and e.effect_token = i.effect_token and e.subject = i.subject and e.state = ${EffectState.Held}
    and ${isFenced}
  returning i.ordinal, e.job_id, e.key, i.result_length
), told as (
  select job_id, ${JobNoteType.EffectCompleted}::smallint as type, key as name, result_length as bytes,
    row_number() over (partition by job_id order by key)::integer as place
  from completed where job_id <> ${noJob}
), counted as (
  select job_id, count(*)::integer as effects from told group by job_id
), changed as (
  update job j set revision = j.revision + c.effects,
    prior_at = j.page_at, prior_writer = j.page_writer, prior_batch = j.page_batch,
    page_at = now(), page_writer = $1, page_batch = $2
  from counted c
  where ${isByKey("j.id", "c.job_id")}
  returning j.*, c.effects
), events as (
  select j.id, ${JobEventType.EffectCompleted}::smallint as event, j.state, j.revision - j.effects + t.place as revision,
    j.attempt, j.fencing_token, j.session_id as event_session, t.name as reason,
    case when t.place = 1 then j.prior_at end as prior_at,
    case when t.place = 1 then j.prior_writer end as prior_writer,
    case when t.place = 1 then j.prior_batch end as prior_batch
  from changed j join told t on t.job_id = j.id
  order by j.id, t.place
), ${writeNotes("told")}, ${writePage("events")}
select ordinal::integer, job_id <> ${noJob} as has_event from completed`;

/** Completes held effects: result, note and event in one transaction (D16, D20). */
export const completeEffects: BatchStatement<CompleteEffectItem, CompleteEffectResult> = {
  name: "complete_effects",
  itemsMax: 256,
  bytesMax: 8 << 20,
  bytesOf: (item) => effectItemBytes(item) + item.result.length,
  run: async (on, items) => {
    const fingerprints = items.map((item) => effectFingerprint(item.result, item.contentType));
    const results = packBytes(items.map((item) => item.result));
    const { rows } = await on.connection.query<{ ordinal: number; has_event: boolean }>({
      name: "complete_effects",
      text: completeText,
      values: [
        on.writerId,
        on.batch,
        ...effectColumns(items),
        numberArray(items.map((item) => item.effectToken)),
        results.offsets,
        results.lengths,
        items.map((item) => item.contentType || null),
        fingerprints,
        results.blob,
      ],
    });
    const completed = new Set(rows.map((row) => items[row.ordinal - 1]));
    const refused = items.filter((item) => !completed.has(item));
    const judged = await judgeEffects(on, refused, ({ subject, effectToken, result, contentType }) => ({
      type: "complete",
      subject,
      effectToken,
      fingerprint: effectFingerprint(result, contentType),
    }));
    return {
      results: items.map((item): CompleteEffectResult => {
        if (completed.has(item)) return { type: "written", isExisting: false };
        return answerToAct(judged.shift() as JudgedEffect);
      }),
      wrotePage: rows.some((row) => row.has_event),
    };
  },
};
