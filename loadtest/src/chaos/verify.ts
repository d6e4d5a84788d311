// What must be so after all that: the ledger is asked, and compared with what submitter and workers were told.
import { type ContractClause, contractClauses } from "@holdfast/hub/contract";
import pg from "pg";
import type { VerdictLog } from "./verdict-log.js";

export interface Check {
  readonly clause: string;
  readonly promise: string;
  /** What breaks it; nothing when it holds. */
  readonly broken: readonly string[];
}

const clauses: readonly ContractClause[] = [
  {
    clause: "D3",
    promise: "every job ended well",
    broken: "select id, state, attempt from job where state <> 6",
  },
  ...contractClauses,
  {
    clause: "D5",
    promise: "the result is the job's own",
    broken: "select id, result from job where state = 6 and convert_from(result, 'UTF8') <> id::text",
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
    for (const { clause, promise, broken } of clauses) {
      const { rows } = await client.query(broken);
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
