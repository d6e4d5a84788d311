import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { migrate, partitionDaysAhead } from "../../src/ledger/migrate.js";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.js";

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

async function sql<Row extends object>(text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: database.url, application_name: "holdfast-test-eye" });
  await client.connect();
  try {
    return (await client.query(text)).rows as Row[];
  } finally {
    await client.end();
  }
}

const migrations = () => sql<{ number: number }>("select number from holdfast.migration order by number");
const partitions = () =>
  sql<{ name: string }>(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'holdfast.job'::regclass order by 1",
  );

describe("migrating a ledger", () => {
  it("again changes nothing, and answers the newest number", async () => {
    const [before, days] = [await migrations(), await partitions()];

    expect(await migrate(database.url)).toBe(before.at(-1)?.number);

    expect(await migrations()).toEqual(before);
    expect(await partitions()).toEqual(days);
    expect(days).toHaveLength(partitionDaysAhead + 2);
  });

  it("from several hubs that start together happens once", async () => {
    const known = await migrations();
    await sql("drop schema holdfast cascade");

    const numbers = await Promise.all([1, 2, 3].map(() => migrate(database.url)));

    expect(new Set(numbers).size).toBe(1);
    expect(await migrations()).toEqual(known);
  });

  it("refuses a ledger that a newer program has migrated, and leaves it as it is", async () => {
    await sql("insert into holdfast.migration (number, name) values (9999, '9999_later.sql')");
    const before = await migrations();

    await expect(migrate(database.url)).rejects.toThrow(/9999.*Run a newer Holdfast/);

    expect(await migrations()).toEqual(before);
  });

  it("stays out of what else is in the database", async () => {
    expect(await sql("select tablename from pg_tables where schemaname = 'public'")).toEqual([]);
  });
});
