import type { SignalPage } from "../domain/signal-page.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";

/** Pages looked at by one read. */
const pagesPerReadMax = 1_000;

const readText = `
select first_sequence, last_sequence, at_ms, producer, body from (
  select p.first_sequence, p.last_sequence, ${toMs("p.at")} as at_ms, o.name as producer, p.body,
    sum(octet_length(p.body)) over (order by p.first_sequence) - octet_length(p.body) as bytes_before
  from (
    select * from signal_page
    where channel_id = $1 and partition = $2 and first_sequence >= coalesce((
      select b.first_sequence from signal_page b
      where b.channel_id = $1 and b.partition = $2 and b.first_sequence <= $3
      order by b.first_sequence desc limit 1), 0)
    order by first_sequence limit ${pagesPerReadMax}
  ) p
  join signal_producer o on ${isByKey("o.producer_id", "p.producer_id")}
) as read
where bytes_before < $4 and last_sequence >= $3
order by first_sequence`;

/**
 * Pages from the one that holds a sequence on, or from the first held after it: in order, and some more bytes than
 * asked for at most by one page.
 */
export async function readSignals(
  db: ReadPool,
  channelId: number,
  partition: number,
  from: number,
  bytes: number,
): Promise<SignalPage[]> {
  const query = {
    name: "read_signals",
    text: readText,
    values: [channelId, partition, from, bytes],
  };
  const { rows } = await db.query<{
    first_sequence: string;
    last_sequence: string;
    at_ms: number;
    producer: string;
    body: Buffer;
  }>(query);
  return rows.map((row) => ({
    firstSequence: Number(row.first_sequence),
    lastSequence: Number(row.last_sequence),
    publishedAtMs: row.at_ms,
    producer: row.producer,
    body: row.body,
  }));
}
