// How a writer numbers its pages of events while two batches are on their way: whatever becomes of either, the
// numbers have no gap, and none stands for two pages (D20).
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type BatchStatement, GroupCommit } from "../../src/ledger/group-commit.js";
import { JobPartitions } from "../../src/ledger/job-partitions.js";
import { WriterConnection } from "../../src/ledger/writer-connection.js";
import { type LedgerRoom, openLedgerRoom, quietObserver } from "../harness/ledger-room.js";

/**
 * - `written`: changes something, and says so in a page
 * - `unchanged`: finds nothing to change, so it writes no page
 * - `refused`: the ledger refuses it
 * - `cut`: the backend ends while the statement runs, the first time
 * - `unanswered`: commits, but the connection is lost before the answer, the first time
 * - `unread`: commits, but what is read after it takes too long, the first time
 */
const fates = ["written", "unchanged", "refused", "cut", "unanswered", "unread"] as const;
type Fate = (typeof fates)[number];

interface Act {
  readonly act: number;
  readonly fate: Fate;
}

const actText = `
with input as (
  select * from unnest($3::integer[], $4::text[]) as i (act, fate)
), slow as (
  select act, fate from input, pg_sleep(0.005)
  where case fate when 'refused' then 1 / (act - act) else 1 end = 1
    and case when fate = 'cut' and not $5 then pg_terminate_backend(pg_backend_pid()) else true end
), acted as (
  insert into acted (act, writer_id, batch) select act, $1, $2 from slow where fate <> 'unchanged'
  on conflict do nothing
  returning act
), page as (
  insert into event_page (at, writer_id, batch, items)
  select now(), $1, $2, array_agg(row(null, act, 0, 0, 0, 0, null, null, null, null, null)::event_item)
  from acted having count(*) > 0
)
select act from acted`;

const tooLongText = "do $$ begin raise 'it took too long' using errcode = '57014'; end $$";

const actOnce: Omit<BatchStatement<Act, Fate>, "name" | "itemsMax"> = {
  bytesMax: 1_000,
  bytesOf: () => 1,
  run: async (on, items) => {
    const { rows } = await on.connection.query<{ act: number }>({
      text: actText,
      values: [on.writerId, on.batch, items.map(({ act }) => act), items.map(({ fate }) => fate), on.isRetry],
    });
    if (!on.isRetry && items.some(({ fate }) => fate === "unanswered"))
      throw new Error("The answer did not come.");
    if (!on.isRetry && items.some(({ fate }) => fate === "unread"))
      await on.connection.query({ text: tooLongText });
    return { results: items.map(({ fate }) => fate), wrotePage: rows.length > 0 };
  },
};

let room: LedgerRoom;
let connection: WriterConnection;
let commits: GroupCommit;
let acts = 0;

beforeAll(async () => {
  room = await openLedgerRoom();
  await room.sql(
    "create table acted (act integer primary key, writer_id integer not null, batch bigint not null)",
  );
});
beforeEach(async () => {
  await commits?.stop();
  await connection?.close();
  connection = new WriterConnection(room.url, "test");
  await connection.open();
  commits = new GroupCommit(
    connection,
    new JobPartitions(),
    { queuedItemsMax: 1_000, queuedBytesMax: 1_000 },
    new Set(),
    quietObserver,
  );
});
afterAll(async () => {
  await commits.stop();
  await connection.close();
  await room.close();
});

/** One call for each group of fates, all at once; calls share a transaction up to `itemsMax` acts. */
function callAll(calls: readonly (readonly Fate[])[], itemsMax = 1) {
  return Promise.allSettled(
    calls.map((call) => {
      const items = call.map((fate): Act => {
        acts += 1;
        return { act: acts, fate };
      });
      return commits.commit({ ...actOnce, name: `act_${itemsMax}`, itemsMax }, items, 30_000);
    }),
  );
}

/** The writer's pages in order: by number, and how many acts each holds. */
function pages() {
  return room.sql<{ batch: number; acts: number }>(
    "select batch::integer, cardinality(items) as acts from event_page where writer_id = $1 order by batch",
    [connection.writerId],
  );
}

async function expectPagesInOrder(): Promise<void> {
  const written = await pages();
  expect(written.map(({ batch }) => batch)).toEqual(written.map((_, at) => at + 1));
  // Each act that was done is told of by the page it was done under, and by no other.
  const told = await room.sql(
    `select (i.item).type::integer as act, p.batch::integer from event_page p
     cross join lateral (select (row(e.*)::event_item) as item from unnest(p.items) as e) i
     where p.writer_id = $1 order by 1`,
    [connection.writerId],
  );
  const done = await room.sql("select act, batch::integer from acted where writer_id = $1 order by 1", [
    connection.writerId,
  ]);
  expect(told).toEqual(done);
}

describe("two batches on their way", () => {
  it("of which the first is refused: its number becomes an empty page beside the second's (D20)", async () => {
    const [refused, written] = await callAll([["refused"], ["written"]]);

    expect([refused?.status, written?.status]).toEqual(["rejected", "fulfilled"]);
    expect(await pages()).toEqual([
      { batch: 1, acts: 0 },
      { batch: 2, acts: 1 },
    ]);
  });

  it("of which both are refused: their numbers become empty pages before what comes next (D20)", async () => {
    await callAll([["refused"], ["refused"]]);
    await callAll([["written"]]);

    await expectPagesInOrder();
  });

  it("of which both find nothing to change: their numbers are taken by what comes next (D20)", async () => {
    await callAll([["unchanged"]]);
    await callAll([["written"]]);

    expect(await pages()).toEqual([{ batch: 1, acts: 1 }]);
  });

  it("that commit, but whose further reads fail: their acts stand, and their pages keep their numbers (D20)", async () => {
    const calls = await callAll([["unread", "written"], ["written"]], 2);
    await callAll([["written"]]);

    expect(calls.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
    await expectPagesInOrder();
    expect((await pages()).reduce((sum, page) => sum + page.acts, 0)).toBe(4);
  });

  it("when the connection is lost: both run again, and are told of once (D3, D20)", async () => {
    const calls = await callAll([["cut"], ["written"]]);
    await callAll([["written"]]);

    expect(calls.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
    await expectPagesInOrder();
    expect((await pages()).reduce((sum, page) => sum + page.acts, 0)).toBe(3);
  });

  it("number their pages without a gap and none twice, whatever becomes of them (D20)", async () => {
    const fate = fc.oneof(
      { weight: 5, arbitrary: fc.constant<Fate>("written") },
      { weight: 2, arbitrary: fc.constant<Fate>("unchanged") },
      { weight: 2, arbitrary: fc.constant<Fate>("refused") },
      { weight: 1, arbitrary: fc.constant<Fate>("cut") },
      { weight: 1, arbitrary: fc.constant<Fate>("unanswered") },
      { weight: 1, arbitrary: fc.constant<Fate>("unread") },
    );
    const call = fc.array(fate, { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { minLength: 2, maxLength: 8 }),
        fc.integer({ min: 1, max: 3 }),
        async (calls, itemsMax) => {
          const settled = await callAll(calls, itemsMax);

          expect(settled.map(({ status }) => status)).toEqual(
            calls.map((call) => (call.length === 1 && call[0] === "refused" ? "rejected" : "fulfilled")),
          );
          await expectPagesInOrder();
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("a writer whose history was dropped", () => {
  it("goes on numbering where it was when its connection is lost and comes back (D20)", async () => {
    for (let round = 0; round < 3; round += 1) await callAll([["written"]]);
    await room.sql("delete from event_page where writer_id = $1 and batch <= 3", [connection.writerId]);

    await callAll([["cut"]]);
    await callAll([["written"]]);

    // The fourth was on its way when the connection was lost.
    expect(await pages()).toEqual([
      { batch: 4, acts: 0 },
      { batch: 5, acts: 1 },
      { batch: 6, acts: 1 },
    ]);
  });
});
