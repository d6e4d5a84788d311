import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EmbeddedPostgres } from "../../src/ledger/embedded-postgres.js";
import {
  claimOne,
  done,
  openSession,
  reportItem,
  submitItem,
  submitMany,
  submitOne,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { startOwnPostgres } from "../harness/postgres.js";

let server: EmbeddedPostgres;
let room: LedgerRoom;
beforeAll(async () => {
  server = await startOwnPostgres();
  room = await openLedgerRoom(server.url);
});
afterAll(async () => {
  await room.close();
  await server.stop();
});

describe("a ledger that is away", () => {
  it("keeps what it answered, fails submits fast, keeps reports waiting, and goes on when it is back (D1, D5)", async () => {
    const before = await submitMany(room, 100);
    const sessionId = await openSession(room);
    const lease = await claimOne(room.ledger, sessionId, before[0] as string);
    await server.stop();

    const report = room.ledger.report([reportItem(sessionId, lease, done)]);
    const askedAt = Date.now();
    await expect(room.ledger.submit([submitItem(room)])).rejects.toMatchObject({
      reason: "LEDGER_UNAVAILABLE",
      retryAfterMs: 1_000,
    });
    expect(Date.now() - askedAt).toBeGreaterThan(1_500);
    expect(Date.now() - askedAt).toBeLessThan(6_000);
    await server.restart();

    expect(await report).toMatchObject([{ type: "committed" }]);
    await submitOne(room);
    expect(await room.sql("select count(*)::integer as jobs from job")).toEqual([{ jobs: 101 }]);
    await expectBooksInOrder(room);
  });

  it("that only restarts is not noticed by those who wait for it", async () => {
    const restarting = server.restart();

    const ids = (
      await Promise.all(
        Array.from({ length: 40 }, () =>
          submitMany(room, 5).catch((error: unknown) => {
            if ((error as { reason?: string }).reason === "LEDGER_UNAVAILABLE") return [];
            throw error;
          }),
        ),
      )
    ).flat();
    await restarting;

    const [row] = await room.sql<{ jobs: number }>(
      "select count(*)::integer as jobs from job where id = any($1)",
      [ids],
    );
    expect(row).toEqual({ jobs: ids.length });
    await expectBooksInOrder(room);
  });
});
