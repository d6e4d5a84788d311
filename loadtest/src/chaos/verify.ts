// What must be so after all that: the ledger is asked, and compared with what submitter and workers were told.
import pg from "pg";
import type { VerdictLog } from "./verdict-log.js";

export interface Check {
  readonly clause: string;
  readonly promise: string;
  /** What breaks it; nothing when it holds. */
  readonly broken: readonly string[];
}

interface Query {
  readonly clause: string;
  readonly promise: string;
  /** Rows that break it. */
  readonly text: string;
}

const queries: readonly Query[] = [
  {
    clause: "D3",
    promise: "every job ended, and well",
    text: "select id, state, attempt from job where state <> 6",
  },
  {
    clause: "D3",
    promise: "every job ended once",
    text: `select j.id, count(e.job_id) as ends from job j left join event e on e.job_id = j.id and e.type in (7, 8, 9)
      group by j.id having count(e.job_id) <> 1`,
  },
  {
    clause: "D4",
    promise: "fencing tokens rise with every grant, and never fall",
    text: `select * from (
        select job_id, revision, type, fencing_token,
          lag(fencing_token) over (partition by job_id order by revision) as former from event) e
      where fencing_token < former or (type = 3 and fencing_token <= former)`,
  },
  {
    clause: "D5",
    promise: "the accepted result is the job's own, under the token of the last grant",
    text: `select j.id, j.outcome_token, max(e.fencing_token) as last_grant from job j
      join event e on e.job_id = j.id and e.type = 3 where j.state = 6
      group by j.id, j.outcome_token, j.result
      having j.outcome_token is distinct from max(e.fencing_token) or convert_from(j.result, 'UTF8') <> j.id::text`,
  },
  {
    clause: "D20",
    promise: "each revision of a job has exactly one event",
    text: `select j.id, j.revision, count(e.job_id) as events from job j left join event e on e.job_id = j.id
      group by j.id, j.revision
      having count(e.job_id) <> j.revision or count(distinct e.revision) <> j.revision or max(e.revision) <> j.revision`,
  },
  {
    clause: "D20",
    promise: "the pages of each writer are numbered without a gap, but for the last of one that was killed",
    // A hub that is killed may take with it that one of its last numbers came to nothing; one that lives fills it.
    text: `with steps as (
        select writer_id, batch, batch - lag(batch, 1, 0::bigint) over of_writer as step, max(batch) over (partition by writer_id) as last
        from event_page window of_writer as (partition by writer_id order by batch))
      select writer_id, batch, step, last from steps s
      where step <> 1 and (step not between 2 and 3 or batch < last - 4 or exists (
        select from pg_locks l where l.locktype = 'advisory' and l.classid::bigint = ${0x486f6c64} and l.objid::bigint = s.writer_id))`,
  },
];

const shownMax = 3;

export async function verify(
  databaseUrl: string,
  acceptedIds: readonly string[],
  log: VerdictLog,
): Promise<Check[]> {
  const client = new pg.Client({ connectionString: databaseUrl, options: "-c search_path=holdfast" });
  await client.connect();
  try {
    const checks = [await checkAccepted(client, acceptedIds)];
    for (const { clause, promise, text } of queries) {
      const { rows } = await client.query(text);
      checks.push({ clause, promise, broken: shown(rows) });
    }
    return [...checks, ...(await checkVerdicts(client, log))];
  } finally {
    await client.end();
  }
}

/** Each accepted job is there, and no other: however often its submit was made, there is one (D1, D2). */
async function checkAccepted(client: pg.Client, acceptedIds: readonly string[]): Promise<Check> {
  const { rows } = await client.query<{ id: string }>("select id::text as id from job");
  const there = new Set(rows.map(({ id }) => id));
  const accepted = new Set(acceptedIds);
  return {
    clause: "D1 D2",
    promise: "the jobs are those that were accepted, each once",
    broken: shown([
      ...acceptedIds.filter((id) => !there.has(id)).map((id) => ({ missing: id })),
      ...[...there].filter((id) => !accepted.has(id)).map((id) => ({ unknown: id })),
      ...(accepted.size === acceptedIds.length ? [] : [{ repeated: acceptedIds.length - accepted.size }]),
    ]),
  };
}

async function checkVerdicts(client: pg.Client, { byJob, counts }: VerdictLog): Promise<Check[]> {
  const { rows } = await client.query<{ id: string; token: string }>(
    "select id::text as id, outcome_token::text as token from job where state = 6",
  );
  const twice: object[] = [];
  const stale: object[] = [];
  let untold = 0;
  for (const { id, token } of rows) {
    const { committed, duplicate } = byJob.get(id) ?? { committed: [], duplicate: [] };
    if (committed.length > 1) twice.push({ id, committed });
    const other = [...committed, ...duplicate].filter((told) => told !== token);
    if (other.length > 0) stale.push({ id, token, other });
    if (committed.length + duplicate.length === 0) untold += 1;
  }
  // A resume may tell that a result was committed before; that is counted as a duplicate, and by no verdict.
  const toldOnResume = counts.duplicate - sum([...byJob.values()].map(({ duplicate }) => duplicate.length));
  return [
    { clause: "D5", promise: "no job was COMMITTED twice to anybody", broken: shown(twice) },
    {
      clause: "D4 D5",
      promise: "no result was COMMITTED under a token that is not the job's",
      broken: shown(stale),
    },
    {
      clause: "D5",
      promise: "the worker of every job was told that its result is written",
      broken:
        untold > toldOnResume ? [`${untold} jobs without a verdict, ${toldOnResume} told on resume`] : [],
    },
  ];
}

export function shown(rows: readonly object[]): string[] {
  const some = rows.slice(0, shownMax).map((row) => JSON.stringify(row));
  return rows.length > shownMax ? [...some, `and ${rows.length - shownMax} more`] : some;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
