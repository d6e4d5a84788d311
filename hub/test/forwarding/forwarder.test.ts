import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ledger } from "../../src/ledger/ledger.js";
import { runRetention } from "../../src/ledger/retention.js";
import { MemorySink } from "../../src/sinks/memory-sink.js";
import { SinkError } from "../../src/sinks/sink.js";
import {
  claimAll,
  claimOne,
  done,
  openSession,
  reportItem,
  submitItem,
  submitMany,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";
import {
  cursorOf,
  eventsIn,
  type ForwardingHub,
  revisionsInLedger,
  revisionsSeen,
  startForwarder,
} from "./forwarding-room.js";

let room: LedgerRoom;
let sink: MemorySink;
let hubs: ForwardingHub[];
beforeEach(async () => {
  room = await openLedgerRoom();
  sink = new MemorySink();
  hubs = [];
});
afterEach(async () => {
  for (const hub of hubs) await hub.forwarder.stop();
  await room.close();
  // Only an absent sink may be the reason.
  for (const error of hubs.flatMap((hub) => hub.errors)) expect(error).toBeInstanceOf(SinkError);
});

async function forward(...parameters: Parameters<typeof startForwarder>): Promise<ForwardingHub> {
  const hub = await startForwarder(...parameters);
  hubs.push(hub);
  return hub;
}

const everythingIsOut = () =>
  until(async () => {
    const [ledger, seen] = [await revisionsInLedger(room), revisionsSeen(sink)];
    return [...ledger].every(([jobId, revisions]) => seen.get(jobId)?.length === revisions.length);
  }, "every event is in the sink");

async function expectInOrder(): Promise<void> {
  await everythingIsOut();
  expect(revisionsSeen(sink)).toEqual(await revisionsInLedger(room));
}

/** Jobs that are submitted, claimed and reported, each time through the next of these ledgers. */
async function live(ledgers: readonly LedgerRoom["ledger"][], count: number): Promise<void> {
  const turn = <Item>(items: readonly Item[], at: number) => items[at % items.length] as Item;
  const sessions = await Promise.all(ledgers.map((ledger) => openSession(room, undefined, ledger)));
  for (let round = 0; round < 6; round += 1) {
    const ids = await submitMany(room, count, {}, turn(ledgers, round));
    const sessionId = turn(sessions, round + 1);
    const leases = await claimAll(turn(ledgers, round + 1), sessionId, ids, round + 1);
    const reports = leases.flatMap((lease) => (lease ? [reportItem(sessionId, lease, done)] : []));
    unrefused(await turn(ledgers, round + 2).report(reports));
  }
}

describe("a hub alone", () => {
  it("forwards every event once, in order, with what it says in the ledger (D20, D21)", async () => {
    await forward(room, room.ledger, sink);

    await live([room.ledger], 20);

    await expectInOrder();
    const ids = eventsIn(sink).map((event) => event.eventId);
    expect(new Set(ids).size).toBe(ids.length);
    const stored = await room.sql<Record<string, unknown>>(
      "select writer_id || '-' || batch || '-' || ordinal as id, job_id, type, state, attempt, fencing_token from event",
    );
    const forwarded = eventsIn(sink).map((event) => ({
      id: event.eventId,
      job_id: event.jobId,
      type: event.type,
      state: event.state,
      attempt: event.attempt,
      fencing_token: String(event.fencingToken),
    }));
    expect(forwarded).toHaveLength(stored.length);
    expect(forwarded).toEqual(expect.arrayContaining(stored));
    expect(new Set(eventsIn(sink).map((event) => event.tenant))).toEqual(new Set(["default"]));
  });

  it("names each job's tenant when there are several", async () => {
    await room.sql("insert into tenant (name) values ('factory-3')");
    const lane = await room.makeLane({ tenantId: 2 });
    await forward(room, room.ledger, sink);
    const other = { ...submitItem(room), tenantId: 2, laneId: lane.laneId };

    unrefused(await room.ledger.submit([other, submitItem(room)]));

    await everythingIsOut();
    expect(
      eventsIn(sink)
        .map((event) => [event.jobId === other.jobId, event.tenant])
        .sort(),
    ).toEqual([
      [false, "default"],
      [true, "factory-3"],
    ]);
  });

  it("commits as ever while the sink is away, and forwards all of it when the sink is back (D20)", async () => {
    sink.setAway(true);
    const hub = await forward(room, room.ledger, sink);

    await live([room.ledger], 20);
    await until(() => hub.errors.length > 0, "the sink was missed");
    expect(eventsIn(sink)).toEqual([]);
    sink.setAway(false);

    await expectInOrder();
  });

  it("is not held up by a transaction that is open elsewhere", async () => {
    const other = new pg.Client({ connectionString: room.url });
    await other.connect();
    await other.query("begin isolation level repeatable read");
    await other.query("select pg_current_xact_id()");
    await forward(room, room.ledger, sink);

    await live([room.ledger], 5);

    await expectInOrder();
    await other.query("rollback");
    await other.end();
  });

  it("saves its cursor a few times a second, not for every page", async () => {
    await forward(room, room.ledger, sink, { saveIntervalMs: 10_000, claimTtlMs: 30_000 });

    await live([room.ledger], 5);
    await everythingIsOut();

    expect((await cursorOf(room, room.ledger.writerId))?.through).toBe(0);
    await hubs[0]?.forwarder.stop();
    expect((await cursorOf(room, room.ledger.writerId))?.through).toBeGreaterThan(6);
  });
});

describe("several hubs", () => {
  it("skip numbers of a dead hub that came to nothing, written as empty pages or never", async () => {
    await room.ledger.beginSink(sink.name);
    const ids = await submitMany(room, 2);
    const [dead] = await room.sql<{ writer_id: number }>(
      "insert into writer (hub_version, host, started_at) values ('test', 'gone', now() - interval '1 hour') returning writer_id",
    );
    const page = (batch: number, items: string) =>
      room.sql(`insert into event_page select now(), $1, $2, ${items}`, [dead?.writer_id, batch]);
    const change = (id: string | undefined, revision: number) =>
      `array[row('${id}', 2, 3, ${revision}, 0, 0, null, null, null, null, null)::event_item]`;
    await page(1, change(ids[0], 2));
    await page(2, "'{}'");
    await page(4, change(ids[1], 2));

    await forward(room, room.ledger, sink);

    await everythingIsOut();
    await until(async () => (await cursorOf(room, dead?.writer_id as number))?.is_done, "it is done");
  });

  it("keep the order of jobs that go from hub to hub (D21)", async () => {
    const peer = await room.openLedger();
    await forward(room, room.ledger, sink);
    await forward(room, peer, sink);

    await live([room.ledger, peer], 20);

    await expectInOrder();
  });

  it("do not wait for one another: a job's earlier events go out though their own hub stands still (D21)", async () => {
    const still = await room.openLedger();
    await forward(room, room.ledger, sink);
    // It claims its pages for long, and then forwards nothing.
    await room.ledger.claimCursor(sink.name, still.writerId, still.writerId, 600_000);
    const sessionId = await openSession(room);
    const ids = await submitMany(room, 10, {}, still);
    const leases = await claimAll(room.ledger, sessionId, ids);
    const reports = leases.flatMap((lease) => (lease ? [reportItem(sessionId, lease, done)] : []));
    unrefused(await room.ledger.report(reports));

    await expectInOrder();
    expect((await cursorOf(room, still.writerId))?.through).toBe(0);
  });

  it("forward the rest of one that ended, once, and never look at it again (D20)", async () => {
    const leaving = await room.openLedger();
    await room.ledger.beginSink(sink.name);
    await submitMany(room, 30, {}, leaving);
    await room.sql("update forward_sink set first_writer = 1");
    await leaving.stop();

    await forward(room, room.ledger, sink);
    const [one, two] = [room.ledger, await room.openLedger()];
    await forward(room, two, sink);

    await expectInOrder();
    await until(async () => (await cursorOf(room, leaving.writerId))?.is_done, "it is done");
    expect(
      hubs.flatMap((hub) => hub.tookOver).filter(({ writerId }) => writerId === leaving.writerId),
    ).toHaveLength(1);
    expect(await one.listUnclaimed(sink.name, 0, 100)).not.toContain(leaving.writerId);
  });

  it("forward the pages of one that lives but does not forward, and leave its life alone", async () => {
    await forward(room, room.ledger, sink);
    const silent = await room.openLedger();

    await submitMany(room, 5, {}, silent);

    await expectInOrder();
    expect(
      await room.sql("select from writer where writer_id = $1 and ended_at is null", [silent.writerId]),
    ).toHaveLength(1);
    expect((await cursorOf(room, silent.writerId))?.is_done).toBe(false);
  });

  it("end the life of one whose connection is gone; coming back, it goes on under a new number (D20)", async () => {
    await forward(room, room.ledger, sink);
    const cut = await room.openLedger();
    const before = cut.writerId;
    await submitMany(room, 5, {}, cut);
    await room.sql(
      `select pg_terminate_backend(l.pid) from pg_locks l
       where l.locktype = 'advisory' and l.objid = $1 and l.classid = ${0x486f6c64}`,
      [before],
    );
    await until(async () => (await cursorOf(room, before))?.is_done, "its life is over");

    await submitMany(room, 5, {}, cut);

    expect(cut.currentWriterId()).toBeGreaterThan(before);
    await expectInOrder();
  });

  it("are not asked for with each commit while another hub has them", async () => {
    await room.ledger.beginSink(sink.name);
    await room.ledger.claimCursor(sink.name, room.ledger.writerId, room.ledger.writerId + 1_000, 600_000);
    let asked = 0;
    const claimCursor: Ledger["claimCursor"] = (...wanted) => {
      asked += 1;
      return room.ledger.claimCursor(...wanted);
    };
    await forward(room, { ...room.ledger, claimCursor }, sink, { lookIntervalMs: 60_000 });

    for (let job = 0; job < 30; job += 1) await submitOne(room);

    expect(asked).toBeLessThan(4);
  });

  it("repeat what a hub had not saved, in order (D20, D21)", async () => {
    await room.ledger.beginSink(sink.name);
    const peer = await room.openLedger();
    const lost = await forward(room, peer, sink);
    const sessionId = await openSession(room, undefined, peer);
    const jobId = await submitOne(room);
    await submitMany(room, 10, {}, peer);
    const lease = await claimOne(peer, sessionId, jobId);
    await until(() => eventsIn(sink).length >= 12, "it forwarded");
    await lost.forwarder.stop();
    await peer.stop();
    await room.sql("update forward_cursor set forwarded_through = 0, is_done = false");

    await forward(room, room.ledger, sink);
    unrefused(await room.ledger.report([reportItem(sessionId, lease, done)]));

    await until(async () => (await cursorOf(room, peer.writerId))?.is_done, "its rest is forwarded");
    await expectInOrder();
    expect(eventsIn(sink).length).toBeGreaterThan(revisionsSeen(sink).size + 12);
  });
});

describe("retention", () => {
  const partition = async () =>
    (
      await room.sql<{ name: string }>(
        "select tableoid::regclass::text as name from event_page where writer_id = $1 limit 1",
        [room.ledger.writerId],
      )
    )[0]?.name as string;

  /** Gives the pages that there are to a day of long ago, as if they had been written then. */
  async function age(): Promise<void> {
    const old = "event_page_20200101";
    const pages = await partition();
    await room.sql(
      `create table ${old} partition of event_page for values from ('2020-01-01Z') to ('2020-01-02Z')`,
    );
    await room.sql(`with moved as (delete from ${pages} returning *)
      insert into event_page select '2020-01-01 12:00Z', writer_id, batch, items from moved`);
    await room.sql("update writer set started_at = '2020-01-01 11:00Z'");
  }
  const retain = (dropUnforwarded: boolean) =>
    runRetention({ databaseUrl: room.url, keepDays: 30, dryRun: false, dropUnforwarded });

  it("keeps pages that a sink has not got, and says so; drops them once it has (D20)", async () => {
    await room.ledger.beginSink(sink.name);
    await submitMany(room, 3);
    await submitMany(room, 3);
    await age();

    expect(await retain(false)).toMatchObject({
      dropped: [],
      unforwarded: [{ partition: "event_page_20200101", pages: 2 }],
    });
    await forward(room, room.ledger, sink);
    await everythingIsOut();
    await until(
      async () => (await cursorOf(room, room.ledger.writerId))?.through === 2,
      "the cursor is saved",
    );

    expect(await retain(false)).toMatchObject({ dropped: ["event_page_20200101"], unforwarded: [] });
  });

  it("told to drop them anyway leaves a gap that is announced, and what follows is forwarded (D15, D20)", async () => {
    await room.ledger.beginSink(sink.name);
    for (let page = 0; page < 3; page += 1) await submitMany(room, 2);
    await age();
    expect(await retain(true)).toMatchObject({ dropped: ["event_page_20200101"], unforwarded: [] });
    await submitOne(room);

    await forward(room, room.ledger, sink);

    await everythingIsOut();
    expect(sink.published[0]).toMatchObject({
      type: "dropped",
      pages: { writerId: room.ledger.writerId, firstPage: 1, lastPage: 3 },
    });
    expect(sink.published).toHaveLength(2);
  });
});
