import type { ReadPool } from "./read-pool.js";
import { numberArray } from "./sql-text.js";

export interface Producer {
  readonly producerId: number;
  readonly epoch: number;
  /** The newest number that is stored; 0 when there is none. */
  readonly lastNumber: number;
}

/** Opens a stream of a producer: its epoch rises, which fences older streams out. */
export async function openProducer(db: ReadPool, channelId: number, name: string): Promise<Producer> {
  const { rows } = await db.query<{ producer_id: string; epoch: number; last_number: string }>({
    name: "open_producer",
    text: `insert into signal_producer (channel_id, name) values ($1, $2)
      on conflict (channel_id, name) do update set epoch = signal_producer.epoch + 1, used_at = now()
      returning producer_id, epoch, last_number`,
    values: [channelId, name],
  });
  const row = rows[0];
  if (!row) throw new Error("A producer was neither made nor found.");
  return { producerId: Number(row.producer_id), epoch: row.epoch, lastNumber: Number(row.last_number) };
}

/** Where a number was stored. */
export interface StoredNumber {
  readonly number: number;
  readonly partition: number;
  readonly sequence: number;
}

/**
 * Where numbers of a producer were stored first, as far as that is still held (D12). A commit writes at most one page
 * for each partition, and pages of different commits hold different numbers: so a number is in one of the
 * `partitions` pages that begin at or below it.
 */
export async function findNumbers(
  db: ReadPool,
  producerId: number,
  partitions: number,
  numbers: readonly number[],
): Promise<StoredNumber[]> {
  const { rows } = await db.query<{ number: string; partition: number; sequence: string }>({
    name: "find_signal_numbers",
    text: `
      select i.number, p.partition,
        p.first_sequence + coalesce(array_position(p.numbers, i.number) - 1, i.number - p.first_number) as sequence
      from unnest($3::bigint[]) as i (number)
      cross join lateral (
        select * from signal_page s where s.producer_id = $1 and s.first_number <= i.number
        order by s.first_number desc limit $2
      ) as p
      where p.last_number >= i.number and (p.numbers is null or i.number = any (p.numbers))`,
    values: [producerId, partitions, numberArray(numbers)],
  });
  return rows.map((row) => ({
    number: Number(row.number),
    partition: row.partition,
    sequence: Number(row.sequence),
  }));
}
