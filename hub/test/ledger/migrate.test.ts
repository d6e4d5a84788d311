import { readdir, readFile } from "node:fs/promises";
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

  it("leaves roles the right to submit that they had before submits said more", async () => {
    await sql("drop schema holdfast cascade");
    await sql("create role early_shop");
    await applyThrough(12);
    await sql("set search_path = holdfast; select allow_submit('early_shop')");

    await migrate(database.url);

    const [submit, ...others] = await sql<{ arguments: number; may: boolean; may_others: boolean }>(`
      select pronargs as arguments, has_function_privilege('early_shop', oid, 'execute') as may,
        has_function_privilege('public', oid, 'execute') as may_others
      from pg_proc where pronamespace = 'holdfast'::regnamespace and proname = 'submit'`);
    expect(submit).toMatchObject({ may: true, may_others: false });
    expect(others).toEqual([]);
    await sql("drop owned by early_shop; drop role early_shop");
  });
});

/** A ledger as a program that knew no more than these migrations left it. */
async function applyThrough(newest: number): Promise<void> {
  const folder = new URL("../../migrations/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => Number(name.slice(0, 4)) <= newest).sort();
  const texts = await Promise.all(names.map((name) => readFile(new URL(name, folder), "utf8")));
  const done = names.map((name) => `(${Number(name.slice(0, 4))}, '${name}')`);
  await sql(`
    create schema holdfast;
    set search_path = holdfast;
    create table migration (number integer primary key, name text not null, applied_at timestamptz not null default now());
    ${texts.join("\n")}
    insert into holdfast.migration (number, name) values ${done.join(", ")}`);
}
