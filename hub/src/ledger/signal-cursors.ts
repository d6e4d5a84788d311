import type { CursorView } from "../domain/cursor.js";
import type { Operator } from "../domain/operation.js";
import { channelTarget } from "./channels.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, numberArray, toMs } from "./sql-text.js";

/** Where a consumer that has no cursor begins. */
export type CursorStart =
  | { readonly type: "earliest" }
  | { readonly type: "latest" }
  | { readonly type: "after"; readonly sequence: number };

export interface AttachedCursor {
  readonly cursorId: number;
  readonly epoch: number;
  readonly ackedThrough: number;
  readonly deliveredThrough: number;
  readonly checkpointSequence: number | null;
}

interface CursorRow {
  readonly cursor_id: string;
  readonly epoch: number;
  readonly acked_through: string;
  readonly delivered_through: string;
  readonly checkpoint_sequence: string | null;
}

/**
 * Attaches a stream to the cursor of a consumer in one partition, made when it is not there. Its epoch rises, which
 * fences older streams out. The head is locked against being trimmed meanwhile (D15).
 */
export async function attachCursor(
  db: ReadPool,
  channelId: number,
  partition: number,
  consumer: string,
  start: CursorStart,
): Promise<AttachedCursor> {
  const { rows } = await db.query<CursorRow>({
    name: "attach_cursor",
    text: `
      with head as materialized (
        select first_sequence, last_sequence from channel_partition
        where channel_id = $1 and partition = $2 for share
      ), place as (
        select case $4::text when 'earliest' then first_sequence - 1 when 'latest' then last_sequence
          else least(greatest($5::bigint, first_sequence - 1), last_sequence) end as after
        from head
      )
      insert into signal_cursor (channel_id, partition, consumer, acked_through, delivered_through)
      select $1, $2, $3, after, after from place
      on conflict (channel_id, partition, consumer)
        do update set epoch = signal_cursor.epoch + 1, touched_at = now()
      returning cursor_id, epoch, acked_through, delivered_through, checkpoint_sequence`,
    values: [channelId, partition, consumer, start.type, start.type === "after" ? start.sequence : 0],
  });
  const row = rows[0];
  if (!row) throw new Error(`Partition ${partition} of channel ${channelId} is gone.`);
  return {
    cursorId: Number(row.cursor_id),
    epoch: row.epoch,
    ackedThrough: Number(row.acked_through),
    deliveredThrough: Number(row.delivered_through),
    checkpointSequence: row.checkpoint_sequence === null ? null : Number(row.checkpoint_sequence),
  };
}

/** The newest checkpoint of a cursor; read after the attach, when no older stream can save another (D14). */
export async function readSignalCheckpoint(
  db: ReadPool,
  cursorId: number,
): Promise<{ sequence: number; state: Uint8Array } | null> {
  const { rows } = await db.query<{ sequence: string; state: Buffer }>({
    name: "read_signal_checkpoint",
    text: "select sequence, state from signal_checkpoint where cursor_id = $1",
    values: [cursorId],
  });
  return rows[0] ? { sequence: Number(rows[0].sequence), state: rows[0].state } : null;
}

/** A signal that a consumer could not take. */
export interface FailedSignal {
  readonly sequence: number;
  readonly failures: number;
  readonly isDead: boolean;
}

export async function readFailedSignals(db: ReadPool, cursorId: number): Promise<FailedSignal[]> {
  const { rows } = await db.query<{ sequence: string; failures: number; is_dead: boolean }>({
    name: "read_failed_signals",
    text: `select sequence, failures, dead_at is not null as is_dead from signal_redelivery
      where cursor_id = $1 order by sequence`,
    values: [cursorId],
  });
  return rows.map((row) => ({
    sequence: Number(row.sequence),
    failures: row.failures,
    isDead: row.is_dead,
  }));
}

/** Which of these cursors have the epoch that is given no more. */
export async function findSuperseded(
  db: ReadPool,
  cursors: readonly { readonly cursorId: number; readonly epoch: number }[],
): Promise<number[]> {
  const { rows } = await db.query<{ cursor_id: string }>({
    name: "find_superseded_cursors",
    text: `select i.cursor_id from unnest($1::bigint[], $2::integer[]) as i (cursor_id, epoch)
      where not exists (select from signal_cursor c
        where ${isByKey("c.cursor_id", "i.cursor_id")} and c.epoch = i.epoch)`,
    values: [numberArray(cursors.map((one) => one.cursorId)), numberArray(cursors.map((one) => one.epoch))],
  });
  return rows.map((row) => Number(row.cursor_id));
}

interface ViewRow extends CursorRow {
  readonly consumer: string;
  readonly partition: number;
  readonly lag: string;
  readonly touched_at_ms: number;
}

const viewColumns = `c.cursor_id, c.epoch, c.consumer, c.partition, c.acked_through, c.delivered_through,
  c.checkpoint_sequence, ${toMs("c.touched_at")} as touched_at_ms`;

function toView(row: ViewRow): CursorView {
  return {
    cursorId: Number(row.cursor_id),
    consumer: row.consumer,
    partition: row.partition,
    ackedThrough: Number(row.acked_through),
    deliveredThrough: Number(row.delivered_through),
    checkpointSequence: row.checkpoint_sequence === null ? null : Number(row.checkpoint_sequence),
    lag: Number(row.lag),
    touchedAtMs: row.touched_at_ms,
  };
}

/** Cursors of a channel, by partition and consumer. */
export async function listCursors(
  db: ReadPool,
  channelId: number,
  after: { readonly partition: number; readonly consumer: string },
  limit: number,
): Promise<CursorView[]> {
  const { rows } = await db.query<ViewRow>({
    name: "list_cursors",
    text: `select ${viewColumns}, p.last_sequence - c.acked_through as lag
      from signal_cursor c join channel_partition p on p.channel_id = c.channel_id and p.partition = c.partition
      where c.channel_id = $1 and (c.partition, c.consumer) > ($2, $3) order by c.partition, c.consumer limit $4`,
    values: [channelId, after.partition, after.consumer, limit],
  });
  return rows.map(toView);
}

/**
 * Moves a cursor to a place between what is held and what is published; null when it is not there or the place lies
 * elsewhere. A checkpoint of another place goes, and the live stream is fenced out.
 */
export async function resetCursor(
  db: ReadPool,
  operator: Operator,
  reset: {
    readonly channelId: number;
    readonly partition: number;
    readonly consumer: string;
    readonly ackedThrough: number;
  },
): Promise<CursorView | null> {
  const { rows } = await db.query<ViewRow>({
    name: "reset_cursor",
    text: `
      with head as materialized (
        select last_sequence from channel_partition
        where channel_id = $1 and partition = $2 and $4::bigint between first_sequence - 1 and last_sequence for share
      ), found as materialized (
        select c.cursor_id, c.acked_through, h.last_sequence from head h cross join signal_cursor c
        where c.channel_id = $1 and c.partition = $2 and c.consumer = $3 for no key update of c
      ), c as (
        update signal_cursor c set epoch = c.epoch + 1, acked_through = $4,
          delivered_through = greatest(c.delivered_through, $4),
          checkpoint_sequence = case when c.checkpoint_sequence = $4 then c.checkpoint_sequence end,
          touched_at = now(), reset_at = now(), reset_by = $5, reset_reason = $6
        from found f
        where ${isByKey("c.cursor_id", "f.cursor_id")}
        returning c.*, f.last_sequence - $4 as lag, f.acked_through as acked_before
      ), moved as (
        select c.tenant_id as operation_tenant, 'cursor.reset' as action,
          'cursor:' || ${channelTarget} || '/' || m.consumer as target,
          jsonb_build_object('partition', m.partition, 'ackedThrough', m.acked_before) as before,
          jsonb_build_object('partition', m.partition, 'ackedThrough', m.acked_through) as after
        from c m join channel c on ${isByKey("c.channel_id", "m.channel_id")}
      ), ${recordOperation("moved", 5)}, dropped as (
        delete from signal_checkpoint s using c
        where ${isByKey("s.cursor_id", "c.cursor_id")} and c.checkpoint_sequence is null
      ), forgotten as (
        delete from signal_redelivery r using c where ${isByKey("r.cursor_id", "c.cursor_id")}
      )
      select ${viewColumns}, c.lag from c`,
    values: [
      reset.channelId,
      reset.partition,
      reset.consumer,
      reset.ackedThrough,
      ...operatorValues(operator),
    ],
  });
  return rows[0] ? toView(rows[0]) : null;
}
