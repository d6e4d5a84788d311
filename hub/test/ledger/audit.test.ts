import { randomUUID } from "node:crypto";
import { afterAll, expect, it } from "vitest";
import { openLedgerRoom } from "../harness/ledger-room.js";

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
  expect(await room.ledger.writeSeal(1, last.number + 1, "seal", ids)).toBe(true);
  expect((await reads()) - before).toBeLessThan(5_000);
});

/** Rows that indexes of the operations led to, of all connections that have said so by now. */
async function reads(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  const [row] = await room.sql<{ read: number }>(
    "select sum(idx_tup_read)::float8 as read from pg_stat_user_indexes where relname = 'operation'",
  );
  return row?.read ?? 0;
}
