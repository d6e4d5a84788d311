import { expect, it, vi } from "vitest";
import { until } from "../../test/harness/raw-wait.js";
import { idOf } from "../../test/harness/refs.js";
import { Fault } from "../domain/fault.js";
import { createMemoryLanes } from "../lanes/memory-lanes.js";
import type { DropDeliveriesItem } from "../ledger/expire-sessions.js";
import type { ReturnItem } from "../ledger/return-leases.js";
import { JobFeed } from "./job-feed.js";
import { leaseReturner } from "./leases-back.js";
import { Reaper } from "./reaper.js";

it.each(["ITEM_POISONED", "LEDGER_UNAVAILABLE"] as const)(
  "a delivery is kept as long as one of its leases is not back, and holds up no other session: %s (D3, D6)",
  async (reason) => {
    const [refused, other] = [idOf(1), idOf(2)];
    const expired = [refused, other].map((sessionId) => ({
      sessionId,
      deliveries: [{ delivery: 1, jobIds: [sessionId], isDelivered: true }],
    }));
    const dropped: DropDeliveriesItem[] = [];
    const errors: unknown[] = [];
    const fault = new Fault(reason, "The ledger did not take it back.");
    const ledger = {
      expireSessions: async () => [],
      readExpiredSessions: async () => expired,
      dropDeliveries: async (item: DropDeliveriesItem) => {
        dropped.push(item);
        return true as const;
      },
      returnLeases: async (items: readonly ReturnItem[]) =>
        items.map((item) => (item.sessionId === refused ? fault : ({ type: "stale" } as const))),
    };
    const feed = new JobFeed({ changed: () => undefined, watching: () => undefined });
    const returnLeases = leaseReturner(
      ledger,
      createMemoryLanes({ windowRefsMax: 10 }),
      feed,
      () => undefined,
    );
    const reaper = new Reaper(
      ledger,
      returnLeases,
      () => undefined,
      (error) => errors.push(error),
    );

    reaper.start();
    await until(() => dropped.length > 0, "a look at the expired sessions");
    await reaper.stop();
    feed.stop();

    expect(dropped.map(({ sessionId }) => sessionId)).toEqual([other]);
    expect(errors).toEqual([fault]);
  },
);

it("a look that is under way ends with the session that it is at when the hub stops", async () => {
  const taken: string[] = [];
  const expired = [1, 2, 3].map((number) => ({
    sessionId: idOf(number),
    deliveries: [{ delivery: 1, jobIds: [idOf(number)], isDelivered: true }],
  }));
  const ledger = {
    expireSessions: async () => [],
    readExpiredSessions: async () => expired,
    dropDeliveries: async () => true as const,
  };
  let stopping: Promise<void> | undefined;
  const ignore = () => undefined;
  const reaper = new Reaper(
    ledger,
    async ([lease]) => {
      taken.push(lease?.sessionId ?? "");
      stopping = reaper.stop();
      return 1;
    },
    ignore,
    ignore,
  );

  reaper.start();
  await until(() => stopping !== undefined, "the first session");
  await stopping;

  expect(taken).toEqual([idOf(1)]);
});

it("a session whose leases did not come back is left alone for a while", async () => {
  vi.useFakeTimers();
  let tries = 0;
  let looks = 0;
  const ledger = {
    expireSessions: async () => [],
    readExpiredSessions: async () => {
      looks += 1;
      return [{ sessionId: idOf(1), deliveries: [{ delivery: 1, jobIds: [idOf(1)], isDelivered: true }] }];
    },
    dropDeliveries: async () => true as const,
  };
  const ignore = () => undefined;
  const refuse = async () => {
    tries += 1;
    throw new Fault("LEDGER_UNAVAILABLE", "Not now.");
  };
  const reaper = new Reaper(ledger, refuse, ignore, ignore);

  reaper.start();
  await vi.advanceTimersByTimeAsync(59_000);
  expect([looks > 50, tries]).toEqual([true, 1]);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(tries).toBe(2);
  await reaper.stop();
  vi.useRealTimers();
});
