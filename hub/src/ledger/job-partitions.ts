// The partition that holds the jobs of a statement, where one does. A statement on all of `job` has PostgreSQL set up each
// day's partition before it runs, however few jobs it is about: for a lone report that is half of its work already with
// 30 days kept. Named, the partition is an ordinary table (docs/adr/0038).
//
// The time in an id says which day a job belongs to (hub/migrations/0001_ledger.sql), so nobody has to look it up.
import { timeOfUuid, uuidPrefix } from "../domain/uuid.js";
import type { ReadPool } from "./read-pool.js";
import type { WriterConnection } from "./writer-connection.js";

/** All jobs: right for every statement. */
export const allJobs = "job";

const dateLength = "YYYYMMDD".length;
const dayMs = 86_400_000;
/**
 * A day is named for so long from its beginning. Retention drops a day's partition when it is two days old at the
 * earliest; what is between leaves room for clocks that differ.
 */
const namedMs = 1.5 * dayMs;

const partitionsText = `
select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = '${allJobs}'::regclass and c.relname ~ '^job_\\d{8}$'`;

/** As `onJobTable` names them. */
const ofOneDayText = "select name from pg_prepared_statements where name ~ '_\\d{8}$'";

interface Day {
  readonly table: string;
  /** Text that the ids of the day do not sort before, and one that they do. */
  readonly fromId: string;
  readonly toId: string;
}

export class JobPartitions {
  readonly #nowMs: () => number;
  #tables: ReadonlySet<string> = new Set();
  #latestMs = 0;
  #lastDay: Day = dayOf(0);

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
  }

  /** Learns which partitions there are; before that, all jobs are the only table. */
  async read(db: Pick<ReadPool, "query">): Promise<void> {
    const { rows } = await db.query<{ name: string }>(partitionsText);
    this.#tables = new Set(rows.map((row) => row.name));
  }

  /** The narrowest table that is sure to hold all jobs of these ids. */
  tableOf(ids: readonly string[]): string {
    const [first] = ids;
    if (first === undefined) return allJobs;
    const startsAtMs = dayStart(timeOfUuid(first));
    if (this.#isPast(startsAtMs)) return allJobs;
    if (!isOf(this.#lastDay, first)) this.#lastDay = dayOf(startsAtMs);
    const day = this.#lastDay;
    return this.#tables.has(day.table) && ids.every((id) => isOf(day, id)) ? day.table : allJobs;
  }

  /** Has the server forget statements on days that are not named any more: a megabyte of plans a day. */
  async forgetPast(connection: Pick<WriterConnection, "query">): Promise<void> {
    const { rows } = await connection.query<{ name: string }>({ text: ofOneDayText });
    for (const { name } of rows)
      if (this.#isPast(startOfDate(name.slice(-dateLength))))
        await connection.query({ text: `deallocate ${name}` });
  }

  /** Once past, always past, also when the clock is set back: what was forgotten must not be asked for again. */
  #isPast(startsAtMs: number): boolean {
    this.#latestMs = Math.max(this.#latestMs, this.#nowMs());
    return this.#latestMs - startsAtMs > namedMs;
  }
}

export interface JobStatement {
  /** Under which it is prepared. */
  readonly name: string;
  readonly text: string;
}

/** A statement on jobs, for each table that `JobPartitions` may name. */
export function onJobTable(name: string, text: (table: string) => string): (table: string) => JobStatement {
  const made = new Map<string, JobStatement>();
  return (table) => {
    const known = made.get(table);
    if (known) return known;
    const statement = { name: `${name}${table.slice(allJobs.length)}`, text: text(table) };
    made.set(table, statement);
    return statement;
  };
}

function isOf({ fromId, toId }: Day, id: string): boolean {
  return id >= fromId && id < toId;
}

function dayOf(startsAtMs: number): Day {
  const date = new Date(startsAtMs).toISOString().slice(0, 10).replaceAll("-", "");
  return { table: `job_${date}`, fromId: uuidPrefix(startsAtMs), toId: uuidPrefix(startsAtMs + dayMs) };
}

/** @param date as in the name of a partition */
function startOfDate(date: string): number {
  return Date.UTC(Number(date.slice(0, 4)), Number(date.slice(4, 6)) - 1, Number(date.slice(6)));
}

function dayStart(ms: number): number {
  return ms - (ms % dayMs);
}
