// Text forms of bound parameters. Arrays of numbers are joined by hand: for the hot statements that is several times
// cheaper than the driver's general quoting, and safe because their members cannot hold a comma, quote or brace.
import { JobEventType } from "../domain/job-state.js";

/** null becomes NULL. */
export function numberArray(numbers: readonly (number | bigint | null)[]): string {
  return `{${numbers.map((number) => number ?? "NULL").join(",")}}`;
}

/** Mostly empty texts: unnest pads a shorter array with nulls, so a column of nulls need not be sent. */
export function textArray(texts: readonly (string | null)[]): readonly (string | null)[] {
  return texts.some((text) => text !== null) ? texts : [];
}

export function booleanArray(flags: readonly boolean[]): string {
  return `{${flags.map((flag) => (flag ? "t" : "f")).join(",")}}`;
}

/** Many byte strings as one bound parameter and the offset and length of each; null has length −1. */
export function packBytes(parts: readonly (Uint8Array | null)[]): {
  blob: Buffer;
  offsets: string;
  lengths: string;
} {
  const offsets: number[] = [];
  const lengths: number[] = [];
  const present: Uint8Array[] = [];
  let at = 0;
  for (const part of parts) {
    offsets.push(at);
    lengths.push(part ? part.length : -1);
    if (part) {
      present.push(part);
      at += part.length;
    }
  }
  return { blob: Buffer.concat(present, at), offsets: numberArray(offsets), lengths: numberArray(lengths) };
}

/**
 * The part of a statement that writes its page of events ($1 writer, $2 batch). `source` names a part that
 * yields: id, event, state, revision, attempt, fencing_token, event_session, reason, prior_at, prior_writer,
 * prior_batch.
 */
export function writePage(source: string): string {
  return `
  page as (
    insert into event_page (at, writer_id, batch, items)
    select now(), $1, $2, array_agg(row(id, event, state, revision, attempt, fencing_token, event_session, reason,
      prior_at, prior_writer, prior_batch)::event_item)
    from ${source} having count(*) > 0
  )`;
}

/** Assignments by which an update of a job links its new event to the one before. */
export const linkHistory = `
      revision = j.revision + 1,
      prior_at = j.page_at, prior_writer = j.page_writer, prior_batch = j.page_batch,
      page_at = now(), page_writer = $1, page_batch = $2`;

/** A delivery whose jobs came in several statements, because a refused batch was halved, holds them all. */
export const addToDelivery =
  "on conflict (session_id, delivery) do update set job_ids = delivery.job_ids || excluded.job_ids";

/**
 * The twin that a job of this lane is retried in. Looked up row by row: as a join, the planner might begin with the
 * lane and walk all its jobs.
 */
export const retryLane =
  "(select coalesce(l.retry_lane_id, l.lane_id) from lane l where l.lane_id = j.lane_id)";

/** The event that entering a terminal or scheduled state by a report stands for. */
export const eventOfSettledState = `
  case j.state when 6 then ${JobEventType.Succeeded} when 7 then ${JobEventType.Dead}
    when 8 then ${JobEventType.Cancelled} else ${JobEventType.RetryScheduled} end::smallint`;

/**
 * An equality by which each row is looked up. A plain one can be merged on as well, which lets the planner walk the whole
 * index for every row instead, and it does where the table was empty when it was counted. So do a constant at the head of
 * the key, which is to come with the rows too, and an order of the result that an index has: order by `value`.
 */
export function isByKey(column: string, value: string): string {
  return `${column} = any (array[${value}])`;
}

/** The same for a key of several columns, by a row that has them under the same names. */
export function isByKeyOf(table: string, row: string, ...columns: readonly string[]): string {
  return columns.map((column) => isByKey(`${table}.${column}`, `${row}.${column}`)).join(" and ");
}

/**
 * A table expression: rows of a table by a column that begins one of its indexes and stands further back in another. The two
 * look alike where the table was empty when it was counted; only the first has the order that is asked for here.
 */
export function rowsByKey(table: string, column: string, value: string): string {
  const key = `${table}.${column}`;
  return `lateral (select * from ${table} where ${isByKey(key, value)} order by ${key} offset 0)`;
}

/** Milliseconds since 1970 of a timestamptz expression, as a float. */
export function toMs(expression: string): string {
  return `date_part('epoch', ${expression}) * 1000`;
}

/** timestamptz of a parameter expression in milliseconds since 1970. */
export function fromMs(expression: string): string {
  return `to_timestamp(${expression} / 1000)`;
}
