import type { BatchStatement } from "./group-commit.js";
import { isByKey, numberArray, packBytes } from "./sql-text.js";

export interface MoveItem {
  readonly cursorId: number;
  readonly epoch: number;
  readonly ackedThrough: number;
  readonly deliveredThrough: number;
  /** Saved in the same transaction. */
  readonly checkpoint: { readonly sequence: number; readonly state: Uint8Array } | null;
}

export type MoveResult = "moved" | "superseded";

// Nothing falls: a move that runs again, or late, changes nothing. A reset raises the epoch.
const moveText = `
with input as (
  select * from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[],
    $7::integer[]) as i (cursor_id, epoch, acked_through, delivered_through, checkpoint_sequence, state_offset, state_length)
), moved as (
  update signal_cursor c set
    acked_through = greatest(c.acked_through, i.acked_through, i.checkpoint_sequence),
    delivered_through = greatest(c.delivered_through, i.delivered_through),
    checkpoint_sequence = greatest(c.checkpoint_sequence, i.checkpoint_sequence),
    touched_at = now()
  from input i
  where ${isByKey("c.cursor_id", "i.cursor_id")} and c.epoch = i.epoch
  returning c.cursor_id, c.epoch, c.acked_through, i.checkpoint_sequence, i.state_offset, i.state_length
), saved as (
  insert into signal_checkpoint (cursor_id, sequence, state)
  select cursor_id, checkpoint_sequence, substring($8::bytea from state_offset + 1 for state_length)
  from moved where checkpoint_sequence is not null
  on conflict (cursor_id) do update set sequence = excluded.sequence, state = excluded.state, saved_at = now()
  where signal_checkpoint.sequence <= excluded.sequence
), passed as (
  delete from signal_redelivery r using moved m
  where ${isByKey("r.cursor_id", "m.cursor_id")} and r.sequence <= m.acked_through
)
select cursor_id, epoch from moved`;

/** Moves cursors under their epochs, and saves checkpoints with them (D13, D14). */
export const moveCursors: BatchStatement<MoveItem, MoveResult> = {
  name: "move_cursors",
  itemsMax: 1_000,
  bytesMax: 16 << 20,
  bytesOf: (item) => 64 + (item.checkpoint?.state.length ?? 0),
  run: async (on, items) => {
    const states = packBytes(items.map((item) => item.checkpoint?.state ?? null));
    const { rows } = await on.connection.query<{ cursor_id: string; epoch: number }>({
      name: "move_cursors",
      text: moveText,
      values: [
        numberArray(items.map((item) => item.cursorId)),
        numberArray(items.map((item) => item.epoch)),
        numberArray(items.map((item) => item.ackedThrough)),
        numberArray(items.map((item) => item.deliveredThrough)),
        numberArray(items.map((item) => item.checkpoint?.sequence ?? null)),
        states.offsets,
        states.lengths,
        states.blob,
      ],
    });
    const moved = new Set(rows.map((row) => `${row.cursor_id}/${row.epoch}`));
    const results = items.map((item) =>
      moved.has(`${item.cursorId}/${item.epoch}`) ? ("moved" as const) : ("superseded" as const),
    );
    return { results, wrotePage: false };
  },
};
