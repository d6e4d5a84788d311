import { randomUUID } from "node:crypto";
import { afterAll, expect, it } from "vitest";
import { openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";

const room = await openLedgerRoom();
afterAll(() => room.close());

const operation = async (target: string) => {
  const [row] = await room.sql<{ id: string }>(
    `insert into operation (operation_id, tenant_id, subject, action, target, reason, ticket)
     values (new_operation_id(), 1, '', 'pause.set', $1, '', '') returning operation_id as id`,
    [target],
  );
  return row?.id ?? "";
};

it("a seal is written with all of its operations, or not at all", async () => {
  const ids = [await operation("a"), await operation("b")];
  await expect(room.ledger.writeSeal(1, 1, "seal", [...ids, randomUUID()])).rejects.toThrow();
  expect(await room.sql("select number from audit_seal")).toEqual([]);
  expect((await room.ledger.readUnsealed(1, 0, 10)).operations.map(({ operationId }) => operationId)).toEqual(
    ids,
  );

  expect(await room.ledger.writeSeal(1, 1, "seal", ids)).toBe(true);
  expect(await room.ledger.writeSeal(1, 1, "another", [await operation("c")])).toBe(false);
  const { last, seen, operations } = await room.ledger.readUnsealed(1, 1, 10);
  expect([last, seen]).toEqual([{ number: 1, seal: "seal" }, "seal"]);
  expect(operations.map(({ target }) => target)).toEqual(["c"]);
});

it("what a seal holds is found one by one, however much waits", async () => {
  await room.sql(`insert into operation (operation_id, tenant_id, subject, action, target, reason, ticket)
    select new_operation_id(), 1, '', 'pause.set', 'many', '', '' from generate_series(1, 20000)`);
  const { operations, last } = await room.ledger.readUnsealed(1, 0, 500);
  const ids = operations.map(({ operationId }) => operationId);
  const before = await reads();
  const ledger = await room.openLedger();
  expect(await ledger.writeSeal(1, last.number + 1, "seal", ids)).toBe(true);
  // Connections that end have said what they read.
  await ledger.stop();
  const read = await until(async () => {
    const now = (await reads()) - before;
    return now >= ids.length ? now : null;
  }, "what was read");
  expect(read).toBeLessThan(10 * ids.length);
});

it("tenants of which something waits are found, those with much and those with little", async () => {
  await room.sql("insert into tenant (name) select 'tenant-' || n from generate_series(1, 5) n");
  await room.sql(`insert into operation (operation_id, tenant_id, subject, action, target, reason, ticket)
    select new_operation_id(), tenant_id, '', 'pause.set', 'few', '', '' from tenant where name in ('tenant-2', 'tenant-5')`);
  const waiting = await room.sql<{ tenant_id: number }>(
    "select distinct tenant_id from operation where seal_number is null order by tenant_id",
  );
  const found = await room.ledger.readUnsealedTenants();
  expect(found.map(({ tenantId }) => tenantId)).toEqual(waiting.map(({ tenant_id }) => tenant_id));
  expect(found).toHaveLength(3);
});

/** Entries of indexes that reads of operations came by, of all connections that have said so by now. */
async function reads(): Promise<number> {
  const [row] = await room.sql<{ read: number }>(
    "select sum(idx_tup_read)::float8 as read from pg_stat_user_indexes where relname = 'operation'",
  );
  return row?.read ?? 0;
}
