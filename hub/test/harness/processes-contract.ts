// The durability contract, checked in the ledger after everything went wrong.
import pg from "pg";
import { type ContractClause, contractClauses } from "../../src/ledger/contract.js";

export interface ContractExpectation {
  /** Jobs that were accepted. */
  readonly jobs: number;
}

const clauses: readonly ContractClause[] = [
  {
    clause: "D1",
    promise: "every job that was accepted is there",
    broken: "select count(*) as found from job having count(*) <> $1",
  },
  {
    clause: "D3",
    promise: "every job ended",
    broken: "select id, state, attempt from job where state < 6",
  },
  ...contractClauses,
  {
    clause: "D5",
    promise: "the result is the job's own",
    broken: "select id, result from job where state = 6 and convert_from(result, 'UTF8') <> id::text",
  },
];

/** @throws an Error that names each clause that broke, with some of the rows that broke it */
export async function checkContract(databaseUrl: string, expected: ContractExpectation): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, options: "-c search_path=holdfast" });
  await client.connect();
  const broken: string[] = [];
  try {
    for (const { clause, promise, broken: text } of clauses) {
      const values = text.includes("$1") ? [expected.jobs] : [];
      const { rows } = await client.query(text, values);
      if (rows.length === 0) continue;
      const some = rows.slice(0, 3).map((row) => JSON.stringify(row));
      broken.push(`${clause} broke: ${promise} (${rows.length} rows)\n  ${some.join("\n  ")}`);
    }
  } finally {
    await client.end();
  }
  if (broken.length > 0) throw new Error(broken.join("\n"));
}
