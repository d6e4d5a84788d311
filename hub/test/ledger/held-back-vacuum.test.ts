import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { claimAll, done, openSession, reportItem, submitMany } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(() => room.close());

it("a job of 200 bytes stays on its page from submit to report, also while an open transaction keeps its old versions", async () => {
  const { ledger } = room;
  const holder = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-holder" });
  await holder.connect();
  await holder.query("begin isolation level repeatable read");
  await holder.query("select pg_current_xact_id()");
  const sessionId = await openSession(room);
  const ids = await submitMany(room, 2_000, { payload: Buffer.alloc(200, "x") });
  const pages = async () => {
    const rows = await room.sql<{ id: string; page: number }>(
      "select id, (ctid::text::point)[0] as page from job where id = any($1)",
      [ids],
    );
    return new Map(rows.map(({ id, page }) => [id, page]));
  };
  const submitted = await pages();
  for (let at = 0; at < ids.length; at += 500) {
    const leases = await claimAll(ledger, sessionId, ids.slice(at, at + 500), 1 + at);
    await ledger.report(leases.flatMap((lease) => (lease ? [reportItem(sessionId, lease, done)] : [])));
  }
  const reported = await pages();
  await holder.end();
  expect(ids.filter((id) => reported.get(id) !== submitted.get(id))).toEqual([]);
});

it("every partition of jobs leaves that room, whoever made it", async () => {
  await room.ledger.ensureJobPartition(Date.now() - 40 * 86_400_000);
  const options = await room.sql(
    `select c.reloptions from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'job'::regclass group by 1`,
  );
  expect(options).toEqual([{ reloptions: ["fillfactor=30"] }]);
});
