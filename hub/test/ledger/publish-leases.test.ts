// Publishing as a job: only while its lease is current, whatever the statement had to wait for.
import pg from "pg";
import { expect, it } from "vitest";
import { done, reportItem, unrefused } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";
import { openChannel } from "../harness/wait-acts.js";

const desk = await openLedgerDesk();
const { room, sessionId } = desk;
const { ledger } = room;

it("stores what a job publishes while it is leased, and nothing under another token or after its end (D4)", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer(ledger, lease);
  const stale = await channel.producer(ledger, { ...lease, fencingToken: lease.fencingToken + 1n });

  expect(await publish()).toBe(1);
  await expect(stale()).rejects.toThrow("stale_fence");
  unrefused(await ledger.report([reportItem(sessionId, lease, done)]));
  await expect(publish()).rejects.toThrow("stale_fence");
});

it("stores nothing under a lease that ended while it waited for the head (D4)", async () => {
  const other = await room.openLedger();
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer(ledger, lease);
  const eye = new pg.Client({ connectionString: room.url });
  await eye.connect();
  await eye.query("set search_path = holdfast; begin");
  await eye.query("select from channel_partition where channel_id = $1 for update", [channel.channelId]);

  const publishing = publish().catch(String);
  const isHeldUp = () =>
    room.sql(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      and query like '%signal_producer%'`);
  await expect.poll(isHeldUp, { timeout: 4_000 }).toHaveLength(1);
  unrefused(await other.report([reportItem(sessionId, lease, done)]));
  await eye.query("commit");
  await eye.end();

  expect(await publishing).toMatch("stale_fence");
});

it("waits for no job that somebody else waits with: jobs are locked in the order of their ids", async () => {
  // Ids rise with the time.
  const first = await desk.leased();
  const last = await desk.leased();
  const eye = new pg.Client({ connectionString: room.url });
  await eye.connect();
  await eye.query("set search_path = holdfast; begin");
  await eye.query("select from job where id = $1 for update", [first.jobId]);

  const progress = ({ jobId, fencingToken }: typeof first) => ({
    jobId,
    sessionId,
    fencingToken,
    percent: 1,
    message: "",
  });
  const recording = ledger.recordProgress([progress(last), progress(first)]);
  const isHeldUp = () =>
    room.sql(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      and application_name = 'holdfast-writer'`);
  await expect.poll(isHeldUp, { timeout: 4_000 }).toHaveLength(1);

  await room.sql("select from job where id = $1 for update nowait", [last.jobId]);
  await eye.query("commit");
  await eye.end();
  expect(await recording).toEqual([true, true]);
});
