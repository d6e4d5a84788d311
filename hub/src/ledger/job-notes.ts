// The summary of a job: its newest notes, in a ring, written in the transaction of what they tell. It has no say in
// anything.
import { type JobNotes, type JobNoteType, jobNotesMax } from "../domain/job-note.js";
import type { ReadPool } from "./read-pool.js";
import { toMs } from "./sql-text.js";

/**
 * The parts of a statement that note what it did: each note takes the place of the oldest. `source` names a part that
 * yields job_id, type, name, bytes; at most as many rows for one job as a job keeps notes.
 */
export function writeNotes(source: string): string {
  return `
  summarized as (
    insert into job_summary as s (job_id, notes) select job_id, count(*) from ${source} group by job_id order by job_id
    on conflict (job_id) do update set notes = s.notes + excluded.notes
    returning job_id, notes
  ), numbered as (
    select n.*, s.notes + 1 - row_number() over (partition by n.job_id order by n.name desc) as number
    from ${source} n join summarized s on s.job_id = n.job_id
  ), noted as (
    insert into job_note (job_id, slot, number, type, name, bytes)
    select job_id, number % ${jobNotesMax}, number, type, name, bytes from numbered
    on conflict (job_id, slot) do update set number = excluded.number, type = excluded.type, name = excluded.name,
      bytes = excluded.bytes, at = now()
  )`;
}

/** The newest notes of a job of the tenant; none for a job that is absent. */
export async function readNotes(db: ReadPool, tenantId: number, jobId: string): Promise<JobNotes> {
  const { rows } = await db.query<{
    number: string;
    type: JobNoteType;
    name: string;
    bytes: number;
    at_ms: number;
    notes: string;
  }>({
    name: "read_notes",
    text: `
      select n.number, n.type, n.name, n.bytes, ${toMs("n.at")} as at_ms, s.notes
      from job j join job_summary s on s.job_id = j.id join job_note n on n.job_id = j.id
      where j.id = $1 and j.tenant_id = $2
      order by n.number`,
    values: [jobId, tenantId],
  });
  return {
    notes: rows.map((row) => ({
      number: BigInt(row.number),
      type: row.type,
      name: row.name,
      bytes: row.bytes,
      atMs: row.at_ms,
    })),
    isTruncated: rows.length > 0 && Number(rows[0]?.notes) > rows.length,
  };
}
