import type { BatchStatement } from "./group-commit.js";
import { isByKey, numberArray } from "./sql-text.js";

/** A signal that a consumer could not take, for so many times now. */
export interface FailItem {
  readonly cursorId: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly failures: number;
  /** Where it goes instead of being delivered again. */
  readonly deadLetter: {
    readonly channelId: number;
    readonly producerId: number;
    readonly body: Uint8Array;
  } | null;
}

export type FailResult = "noted" | "dead" | "superseded";

const noteText = `
insert into signal_redelivery (cursor_id, sequence, failures)
select c.cursor_id, i.sequence, i.failures
from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[]) as i (cursor_id, epoch, sequence, failures)
join signal_cursor c on ${isByKey("c.cursor_id", "i.cursor_id")} and c.epoch = i.epoch
on conflict (cursor_id, sequence) do update set failures = greatest(signal_redelivery.failures, excluded.failures)
returning cursor_id, sequence`;

/** Counts failures. The count comes with the item, so that a try that runs again counts once. */
export const noteFailures: BatchStatement<FailItem, FailResult> = {
  name: "note_signal_failures",
  itemsMax: 500,
  bytesMax: 1 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    const { rows } = await on.connection.query<{ cursor_id: string; sequence: string }>({
      name: "note_signal_failures",
      text: noteText,
      values: [
        numberArray(items.map((item) => item.cursorId)),
        numberArray(items.map((item) => item.epoch)),
        numberArray(items.map((item) => item.sequence)),
        numberArray(items.map((item) => item.failures)),
      ],
    });
    const noted = new Set(rows.map((row) => `${row.cursor_id}/${row.sequence}`));
    const results = items.map((item) =>
      noted.has(`${item.cursorId}/${item.sequence}`) ? ("noted" as const) : ("superseded" as const),
    );
    return { results, wrotePage: false };
  },
};

// One transaction: the signal is in the dead-letter channel and counts as acknowledged, or neither. The mark makes a
// repeated try a repeat.
const buryText = `
with cursor as (
  select c.cursor_id from signal_cursor c where c.cursor_id = $1 and c.epoch = $2 for update
), marked as (
  insert into signal_redelivery (cursor_id, sequence, failures, dead_at)
  select cursor_id, $3, $4, now() from cursor
  on conflict (cursor_id, sequence) do update set failures = excluded.failures, dead_at = now()
  where signal_redelivery.dead_at is null
  returning cursor_id
), head as (
  update channel_partition p set last_sequence = p.last_sequence + 1, held_bytes = p.held_bytes + octet_length($7::bytea),
    is_waking = p.is_awaited
  where p.channel_id = $5 and p.partition = 0 and exists (select from marked)
  returning p.last_sequence
), page as (
  insert into signal_page (channel_id, partition, first_sequence, last_sequence, at, producer_id, first_number,
    last_number, body)
  select $5, 0, last_sequence, last_sequence, now(), $6, 0, 0, $7 from head
)
select exists (select from cursor) as is_current`;

/**
 * Sends a signal to the dead-letter channel. Admission is not asked: a dead letter is never dropped. Who waits for one is
 * woken by the next round.
 */
export const burySignals: BatchStatement<FailItem, FailResult> = {
  name: "bury_signals",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: (item) => item.deadLetter?.body.length ?? 0,
  run: async (on, [item]) => {
    if (!item?.deadLetter) throw new Error("A signal is buried in a channel.");
    const { rows } = await on.connection.query<{ is_current: boolean }>({
      name: "bury_signals",
      text: buryText,
      values: [
        item.cursorId,
        item.epoch,
        item.sequence,
        item.failures,
        item.deadLetter.channelId,
        item.deadLetter.producerId,
        Buffer.from(item.deadLetter.body),
      ],
    });
    return { results: [rows[0]?.is_current ? "dead" : "superseded"], wrotePage: false };
  },
};
