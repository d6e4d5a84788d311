import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Lane, Ref } from "../../src/domain/lane.js";
import { firstUuid } from "../../src/domain/uuid.js";
import { claimAll, openSession, submitItem, unrefused } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

const second = 1_000_000;
let room: LedgerRoom;
let lane: Lane;
let made = 0;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());
beforeEach(async () => {
  made += 1;
  lane = await room.makeLane({ queue: `queue-${made}` });
});

async function submit(count: number): Promise<string[]> {
  const items = Array.from({ length: count }, () => ({ ...submitItem(room), laneId: lane.laneId }));
  unrefused(await room.ledger.submit(items));
  return items.map((item) => item.jobId);
}

const idsOf = (refs: readonly Ref[]) => refs.map((ref) => ref.jobId);
const toNow = () => Date.now() * 1_000 + second;
const deal = (limit: number, afterKey = 0) => room.ledger.dealLanePage(lane.laneId, afterKey, toNow(), limit);
const lowKey = async () => {
  const sql = "select low_key::float8 as low_key from lane where lane_id = $1";
  return (await room.sql<{ low_key: number }>(sql, [lane.laneId]))[0]?.low_key ?? 0;
};
const placeOf = async (jobId: string | undefined) => {
  const sql = "select ready_key::float8 as key from job where id = $1";
  return (await room.sql<{ key: number }>(sql, [jobId]))[0]?.key ?? 0;
};
/** As if the round had begun so long ago that it is over. */
const endRound = () =>
  room.sql("update lane set deal_began_at = now() - interval '31 s' where lane_id = $1", [lane.laneId]);

describe("jobs that are dealt to hubs", () => {
  it("come in order, each once in a round", async () => {
    const ids = await submit(5);

    const pages = [await deal(2), await deal(2), await deal(2), await deal(2)];

    expect(pages.map(idsOf)).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4), []]);
  });

  it("come once each to hubs that ask at the same time", async () => {
    const ids = await submit(200);
    const other = await room.openLedger();

    const pages = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        (at % 2 === 0 ? room.ledger : other).dealLanePage(lane.laneId, 0, toNow(), 10),
      ),
    );
    const dealt = pages.flatMap(idsOf);
    expect(new Set(dealt).size).toBe(dealt.length);
    expect([...dealt].sort()).toEqual([...ids].sort());
    await other.stop();
  });

  it("come again in the next round, unless they were claimed: their hub may be gone (D9)", async () => {
    const ids = await submit(4);
    await deal(10);
    await claimAll(room.ledger, await openSession(room), ids.slice(0, 2));
    expect(await deal(10)).toEqual([]);

    await endRound();

    expect(idsOf(await deal(10))).toEqual(ids.slice(2));
  });

  it("come from the stretch alone that was asked for", async () => {
    const ids = await submit(6);
    const [after, through] = [await placeOf(ids[1]), await placeOf(ids[3])];

    const page = await room.ledger.dealLanePage(lane.laneId, after, through, 10);

    expect(idsOf(page)).toEqual(ids.slice(2, 4));
  });
});

describe("low keys", () => {
  const raise = (throughKey = toNow()) => room.ledger.raiseLowKeys([lane.laneId], throughKey);

  it("rise to the first job that waits, whichever hub has it, and never past it", async () => {
    const ids = await submit(5);
    await claimAll(room.ledger, await openSession(room), [ids[0], ids[1], ids[3]] as string[]);

    const [raised] = await raise();

    const place = await placeOf(ids[2]);
    expect(raised).toEqual({ laneId: lane.laneId, lowKey: place - 1, oldestReadyKey: place });
    expect(await lowKey()).toBe(place - 1);
  });

  it("rise as far as asked when nothing waits, and never fall", async () => {
    const ids = await submit(2);
    await claimAll(room.ledger, await openSession(room), ids);
    const through = toNow();

    expect(await raise(through)).toEqual([{ laneId: lane.laneId, lowKey: through, oldestReadyKey: null }]);
    await raise(through - second);
    expect(await lowKey()).toBe(through);
  });

  it("are not written while there is nothing to pass", async () => {
    await raise();

    expect(await lowKey()).toBe(0);
  });

  it("do not look at jobs that are younger than asked for", async () => {
    const ids = await submit(1);
    const before = (await placeOf(ids[0])) - second;

    expect(await raise(before)).toEqual([{ laneId: lane.laneId, lowKey: before, oldestReadyKey: null }]);
  });
});

describe("the sweep", () => {
  const sweep = async (scanMax: number) => {
    const found: Ref[] = [];
    let pages = 0;
    for (let after: string | null = firstUuid; after !== null; pages += 1) {
      const page = await room.ledger.readStragglers(after, scanMax);
      found.push(...page.refs);
      after = page.nextJobId;
    }
    return { pages, found: found.filter(({ laneId }) => laneId === lane.laneId) };
  };

  it("finds the ready jobs that lie before their lane's low key, with all that their refs say (D9)", async () => {
    const ids = await submit(5);
    const refs = await room.ledger.readLanePage(lane.laneId, 0, 10);
    await claimAll(room.ledger, await openSession(room), [ids[1]] as string[]);
    expect((await sweep(1_000)).found).toEqual([]);

    const key = await placeOf(ids[3]);
    await room.sql("update lane set low_key = $2 where lane_id = $1", [lane.laneId, key]);

    expect((await sweep(1_000)).found).toEqual([refs[0], refs[2], refs[3]]);
  });

  it("comes to every job in pages of any size, and then to its end", async () => {
    const ids = await submit(5);
    await room.sql("update lane set low_key = $2 where lane_id = $1", [lane.laneId, toNow()]);
    const [jobs] = await room.sql<{ count: number }>("select count(*)::integer as count from job");
    const count = jobs?.count ?? 0;

    for (const scanMax of [1, 2, count, count + 1]) {
      const { pages, found } = await sweep(scanMax);

      expect(idsOf(found)).toEqual(ids);
      // A page that is full may be the last one: only the next says so.
      expect(pages).toBe(Math.floor(count / scanMax) + 1);
    }
  });
});
