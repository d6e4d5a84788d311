import type { ReadPool } from "./read-pool.js";
import { writerLockClass } from "./writer-connection.js";

/**
 * Ends the life of a writer that holds no lock: its hub is dead or cut off, and should it come back, it writes under
 * another number. Numbers of its last pages that came to nothing are filled. Answers whether the life is over, and its
 * last page.
 */
export async function settleWriter(
  db: ReadPool,
  writerId: number,
): Promise<{ isEnded: boolean; lastPage: number }> {
  const { rows } = await db.query<{ is_ended: boolean; last_page: string }>(
    "select is_ended, last_page from settle_writer($1, $2)",
    [writerId, writerLockClass],
  );
  return { isEnded: rows[0]?.is_ended === true, lastPage: Number(rows[0]?.last_page) };
}

/** Numbers of writers whose life is not over in the ledger, and whose lock nobody holds. */
export async function listUnlockedWriters(db: ReadPool): Promise<number[]> {
  const { rows } = await db.query<{ writer_id: number }>({
    name: "list_unlocked_writers",
    text: `
      select w.writer_id from writer w
      where w.ended_at is null and w.writer_id not in (
        select l.objid::bigint from pg_locks l join pg_database d on d.oid = l.database
        where l.locktype = 'advisory' and l.classid = $1::bigint::oid and l.granted and d.datname = current_database())
      order by w.writer_id`,
    values: [writerLockClass],
  });
  return rows.map((row) => row.writer_id);
}
