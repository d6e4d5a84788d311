import fc from "fast-check";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobPartitions, onJobTable } from "../../src/ledger/job-partitions.js";
import { WriterConnection } from "../../src/ledger/writer-connection.js";
import { claimAll, done, openSession, reportItem, submitItem, submitMany } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

const dayMs = 86_400_000;

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

/** What is known on a hub whose clock stands at `nowMs`, of the partitions of the room. */
async function partitionsAt(nowMs: () => number): Promise<JobPartitions> {
  const partitions = new JobPartitions(nowMs);
  await partitions.read({ query: async (text) => ({ rows: await room.sql(text as string) }) as never });
  return partitions;
}

const idAt = (ms: number) => uuidv7({ msecs: Math.floor(ms) });
const tableOfDay = (ms: number) => `job_${new Date(ms).toISOString().slice(0, 10).replaceAll("-", "")}`;

describe("the table that a statement names", () => {
  it("is the partition that PostgreSQL keeps its jobs in, or else all jobs", async () => {
    const now = Date.now();
    const partitions = await partitionsAt(() => now);
    const offset = fc.integer({ min: -dayMs, max: 3 * dayMs });
    await fc.assert(
      fc.asyncProperty(fc.array(offset, { minLength: 1, maxLength: 3 }), async (offsets) => {
        const ids = offsets.map((ms) => idAt(now + ms));
        const table = partitions.tableOf(ids);
        await room.ledger.submit(ids.map((jobId) => ({ ...submitItem(room), jobId })));
        const rows = await room.sql<{ place: string }>(
          "select distinct tableoid::regclass::text as place from job where id = any($1)",
          [ids],
        );
        if (table !== "job") expect(rows).toEqual([{ place: table }]);
        else expect(rows.length > 1 || (rows[0]?.place ?? "") < tableOfDay(now)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it("is all jobs for a day that has no partition, for one that retention may drop, and for none", async () => {
    let now = Date.now();
    const partitions = await partitionsAt(() => now);
    const id = idAt(now);
    expect(partitions.tableOf([id])).toBe(tableOfDay(now));
    expect(partitions.tableOf([idAt(now + 30 * dayMs)])).toBe("job");
    expect(partitions.tableOf([])).toBe("job");
    now += 1.5 * dayMs;
    expect(partitions.tableOf([id])).toBe("job");
    now -= 1.5 * dayMs;
    expect(partitions.tableOf([id]), "once past, always past").toBe("job");
    expect(new JobPartitions().tableOf([id]), "before it knows any").toBe("job");
  });
});

it("jobs of several days are leased and reported in one batch, and then each by itself", async () => {
  const { ledger } = room;
  const sessionId = await openSession(room);
  const days = [-1, 0, 1].map((day) => Date.now() + day * dayMs);
  const ids = [...days, ...days].map(idAt);
  await ledger.submit(ids.map((jobId) => ({ ...submitItem(room), jobId })));
  const together = ids.slice(0, 3);
  const leases = (await claimAll(ledger, sessionId, together)).flatMap((lease) => lease ?? []);
  expect(leases.map(({ jobId }) => jobId)).toEqual(together);
  const verdicts = await ledger.report(leases.map((lease) => reportItem(sessionId, lease, done)));
  expect(verdicts).toMatchObject(together.map(() => ({ type: "committed" })));
  for (const [at, id] of ids.slice(3).entries()) {
    const [lease] = await claimAll(ledger, sessionId, [id], 2 + at);
    if (!lease) throw new Error("not granted");
    const held = { jobId: id, sessionId, fencingToken: lease.fencingToken };
    expect(await ledger.saveCheckpoints([{ ...held, sequence: 1n, state: Buffer.from("half") }])).toEqual([
      "saved",
    ]);
    expect(await ledger.recordProgress([{ ...held, percent: 50, message: "" }])).toEqual([true]);
    expect(await ledger.report([reportItem(sessionId, lease, done)])).toMatchObject([{ type: "committed" }]);
    expect(await ledger.report([reportItem(sessionId, lease, done)])).toMatchObject([{ type: "duplicate" }]);
  }
});

it("whoever keeps all jobs locked, as retention does for a moment, does not hold up those of the day", async () => {
  const { ledger } = room;
  const sessionId = await openSession(room);
  const live = async (delivery: number) => {
    const ids = await submitMany(room, 3);
    const leases = (await claimAll(ledger, sessionId, ids, delivery)).flatMap((lease) => lease ?? []);
    return ledger.report(leases.map((lease) => reportItem(sessionId, lease, done)));
  };
  await live(1);
  const holder = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-holder" });
  await holder.connect();
  await holder.query("begin; set local search_path = holdfast; lock table only job in access exclusive mode");
  const verdicts = await live(2);
  await holder.end();
  expect(verdicts).toMatchObject([1, 2, 3].map(() => ({ type: "committed" })));
});

it("statements on past days are forgotten by the server, and those on all jobs are kept", async () => {
  let now = Date.now();
  const partitions = await partitionsAt(() => now);
  const connection = new WriterConnection(room.url, "test");
  await connection.open();
  const counting = onJobTable("count_them", (table) => `select count(*) from ${table}`);
  const prepared = async () => {
    const { rows } = await connection.query<{ name: string }>({
      text: "select name from pg_prepared_statements where name like 'count%' order by 1",
    });
    return rows.map((row) => row.name);
  };
  const today = partitions.tableOf([idAt(now)]);
  for (const table of ["job", today]) await connection.query({ ...counting(table) });
  await partitions.forgetPast(connection);
  expect(await prepared()).toEqual(["count_them", `count_them${today.slice("job".length)}`]);
  now += 2 * dayMs;
  await partitions.forgetPast(connection);
  expect(await prepared()).toEqual(["count_them"]);
  await connection.close();
});
