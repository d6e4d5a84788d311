import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contractClauses } from "../../src/ledger/contract.js";
import { writerLockClass } from "../../src/ledger/writer-connection.js";
import { DeadWriters } from "../../src/services/dead-writers.js";
import { submitOne } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

/** A hub that was killed, and the page numbers that it left. */
async function killedWriter(pages: readonly number[], startedAt = "now()"): Promise<number> {
  const [made] = await room.sql<{ writer_id: number }>(
    `insert into writer (hub_version, host, started_at) values ('1', 'gone', ${startedAt}) returning writer_id`,
  );
  const writerId = made?.writer_id as number;
  await room.sql(
    "insert into event_page (at, writer_id, batch, items) select now(), $1, n, '{}' from unnest($2::bigint[]) as n",
    [writerId, pages],
  );
  return writerId;
}

async function pagesOf(writerId: number): Promise<number[]> {
  const rows = await room.sql<{ batch: string }>(
    "select batch from event_page where writer_id = $1 order by batch",
    [writerId],
  );
  return rows.map(({ batch }) => Number(batch));
}

const gaps = () => room.sql(contractClauses.find(({ promise }) => promise.includes("gap"))?.broken as string);

describe("a writer whose hub is gone", () => {
  it("has pages without a gap once its life is over (D20)", async () => {
    const writerId = await killedWriter([1, 2, 4, 5, 7]);

    expect(await room.ledger.settleWriter(writerId)).toEqual({ isEnded: true, lastPage: 7 });
    expect(await room.ledger.settleWriter(writerId)).toEqual({ isEnded: true, lastPage: 7 });

    expect(await pagesOf(writerId)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(await gaps()).toEqual([]);
  });

  it("has its very first numbers, too", async () => {
    const writerId = await killedWriter([2]);
    await room.ledger.settleWriter(writerId);
    expect(await pagesOf(writerId)).toEqual([1, 2]);
  });

  it("keeps what retention dropped dropped", async () => {
    const writerId = await killedWriter([40, 42], "now() - interval '40 days'");
    await room.ledger.settleWriter(writerId);
    expect(await pagesOf(writerId)).toEqual([40, 41, 42]);
  });

  it("is not ended while somebody holds its lock", async () => {
    const writerId = await killedWriter([1, 3]);
    const other = await room.openLedger();
    expect(await other.settleWriter(room.ledger.writerId)).toMatchObject({ isEnded: false });
    await room.sql("select pg_advisory_lock($1, $2)", [writerLockClass, writerId]);
    expect(await other.settleWriter(writerId)).toEqual({ isEnded: false, lastPage: 3 });
    expect(await room.ledger.listUnlockedWriters()).not.toContain(writerId);
    await room.sql("select pg_advisory_unlock($1, $2)", [writerLockClass, writerId]);
    expect(await room.ledger.listUnlockedWriters()).toContain(writerId);
    expect(await pagesOf(writerId)).toEqual([1, 3]);
  });

  it("is ended by any hub that finds its lock free twice, and hubs that live are not", async () => {
    const writerId = await killedWriter([1, 3]);
    const looks: number[][] = [];
    const dead = new DeadWriters(
      {
        listUnlockedWriters: async () => {
          looks.push(await pagesOf(writerId));
          return await room.ledger.listUnlockedWriters();
        },
        settleWriter: room.ledger.settleWriter,
      },
      (error) => {
        throw error;
      },
      20,
    );
    dead.start();
    await until(async () => looks.length >= 3, "three looks");
    await dead.stop();

    expect(looks.slice(0, 3)).toEqual([
      [1, 3],
      [1, 3],
      [1, 2, 3],
    ]);
    await submitOne(room);
    expect(await room.ledger.listUnlockedWriters()).toEqual([]);
  });
});
