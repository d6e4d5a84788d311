import type { Channel } from "../domain/channel.js";
import type { ReadPool } from "./read-pool.js";
import { rowsByKey, toMs } from "./sql-text.js";

/** A partition that may hold what can be trimmed, with its channel's policy. */
export interface TrimCandidate
  extends Pick<Channel, "channelId" | "maxAgeMs" | "maxBytes" | "trimConsumed" | "trimPastCursors"> {
  readonly partition: number;
  readonly heldBytes: number;
  /** What the rearmost durable cursor would begin after; null without any. */
  readonly cursorFloor: number | null;
  readonly nowMs: number;
}

/** Partitions that hold something, after the one named, in order of their keys. */
export async function listTrimCandidates(
  db: ReadPool,
  after: { readonly channelId: number; readonly partition: number },
  limit: number,
): Promise<TrimCandidate[]> {
  const { rows } = await db.query<{
    channel_id: string;
    partition: number;
    held_bytes: string;
    max_age_ms: string;
    max_bytes: string;
    trim_consumed: boolean;
    trim_past_cursors: boolean;
    cursor_floor: string | null;
    now_ms: number;
  }>({
    name: "list_trim_candidates",
    text: `
      select p.channel_id, p.partition, p.held_bytes, c.max_age_ms, c.max_bytes, c.trim_consumed, c.trim_past_cursors,
        (select min(coalesce(s.checkpoint_sequence, s.acked_through)) from signal_cursor s
          where s.channel_id = p.channel_id and s.partition = p.partition) as cursor_floor,
        ${toMs("now()")} as now_ms
      from channel_partition p cross join ${rowsByKey("channel", "channel_id", "p.channel_id")} c
      where (p.channel_id, p.partition) > ($1, $2)
      order by p.channel_id, p.partition limit $3`,
    values: [after.channelId, after.partition, limit],
  });
  return rows.map((row) => ({
    channelId: Number(row.channel_id),
    partition: row.partition,
    heldBytes: Number(row.held_bytes),
    maxAgeMs: Number(row.max_age_ms),
    maxBytes: Number(row.max_bytes),
    trimConsumed: row.trim_consumed,
    trimPastCursors: row.trim_past_cursors,
    cursorFloor: row.cursor_floor === null ? null : Number(row.cursor_floor),
    nowMs: row.now_ms,
  }));
}

/** The size and age of a page, for judging whether it goes. */
export interface PageExtent {
  readonly lastSequence: number;
  readonly publishedAtMs: number;
  readonly bytes: number;
}

/** The oldest pages of a partition. */
export async function readOldestPages(
  db: ReadPool,
  channelId: number,
  partition: number,
  limit: number,
): Promise<PageExtent[]> {
  const { rows } = await db.query<{ last_sequence: string; at_ms: number; bytes: number }>({
    name: "read_oldest_pages",
    text: `select last_sequence, ${toMs("at")} as at_ms, octet_length(body) as bytes from signal_page
      where channel_id = $1 and partition = $2 order by first_sequence limit $3`,
    values: [channelId, partition, limit],
  });
  return rows.map((row) => ({
    lastSequence: Number(row.last_sequence),
    publishedAtMs: row.at_ms,
    bytes: row.bytes,
  }));
}

/** Drops pages that end at or before a sequence; answers the first sequence still held (D15). */
export async function trimSignals(
  db: ReadPool,
  channelId: number,
  partition: number,
  through: number,
  pastCursors: boolean,
): Promise<number> {
  const { rows } = await db.query<{ first_held: string }>({
    name: "trim_signals",
    text: "select trim_signals($1, $2::smallint, $3, $4) as first_held",
    values: [channelId, partition, through, pastCursors],
  });
  return Number(rows[0]?.first_held);
}
