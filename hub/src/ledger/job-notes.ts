// The summary of a job: its newest notes, in a ring, written in the transaction of what they tell, and what the pages of
// its channels say when somebody asks. It has no say in anything.

import { OwnerType } from "../domain/channel.js";
import { type JobNote, type JobNotes, JobNoteType, jobNotesMax, newestNotes } from "../domain/job-note.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, toMs } from "./sql-text.js";

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
  const [written, signals] = await Promise.all([
    readWritten(db, tenantId, jobId),
    readSignalNotes(db, tenantId, jobId),
  ]);
  return newestNotes([...written.notes, ...signals.notes], written.isTruncated || signals.isTruncated);
}

async function readWritten(db: ReadPool, tenantId: number, jobId: string): Promise<JobNotes> {
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
      signals: 0,
      producer: "",
    })),
    isTruncated: rows.length > 0 && Number(rows[0]?.notes) > rows.length,
  };
}

/** Partitions of a job's channels that are looked at. */
const notedPartitionsMax = 100;

/** The newest pages of the channels that a job owns: publishing writes nothing for the sake of its summary. */
async function readSignalNotes(db: ReadPool, tenantId: number, jobId: string): Promise<JobNotes> {
  const { rows } = await db.query<{
    name: string;
    first_sequence: string;
    last_sequence: string;
    at_ms: number;
    bytes: number;
    producer: string;
  }>({
    name: "read_signal_notes",
    text: `
      select h.name, p.first_sequence, p.last_sequence, ${toMs("p.at")} as at_ms, octet_length(p.body) as bytes,
        o.name as producer
      from (
        select c.channel_id, c.name, q.partition
        from channel c
        cross join lateral (select partition from channel_partition where channel_id = c.channel_id offset 0) q
        where c.tenant_id = $1 and c.owner_type = ${OwnerType.Job} and c.owner = $2 limit ${notedPartitionsMax}
      ) h
      cross join lateral (
        select * from signal_page p where p.channel_id = h.channel_id and p.partition = h.partition
        order by p.first_sequence desc limit ${jobNotesMax + 1}
      ) p
      join signal_producer o on ${isByKey("o.producer_id", "p.producer_id")}
      order by p.at desc limit ${jobNotesMax + 1}`,
    values: [tenantId, jobId],
  });
  const notes = rows.map(
    (row): JobNote => ({
      number: BigInt(row.last_sequence),
      type: JobNoteType.SignalsPublished,
      name: row.name,
      bytes: row.bytes,
      atMs: row.at_ms,
      signals: Number(row.last_sequence) - Number(row.first_sequence) + 1,
      producer: row.producer,
    }),
  );
  return { notes, isTruncated: rows.length > jobNotesMax };
}
