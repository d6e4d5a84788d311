import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { leaseOn, liveSession } from "../../test/harness/sessions.js";
import { Fault } from "../domain/fault.js";
import type { SettledDelivery } from "../ledger/settle-deliveries.js";
import { SettledDeliveries } from "./settled-deliveries.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it("are forgotten once, without waiting for a heartbeat, and again where the ledger was away", async () => {
  const away = new Fault("LEDGER_UNAVAILABLE", "The ledger cannot be reached.");
  const asked: (readonly SettledDelivery[])[] = [];
  const { session } = liveSession(1, { jobs: 1 });
  const failed: unknown[] = [];
  const ledger = {
    settleDeliveries: async (items: readonly SettledDelivery[]) => {
      asked.push(items);
      if (asked.length === 1) throw away;
      return items.map(() => true as const);
    },
  };
  const deliveries = new SettledDeliveries(ledger, { all: () => [session] }, (error) => failed.push(error));
  deliveries.start();
  session.hold(leaseOn("1", 3));
  session.hold(leaseOn("2", 4));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked).toEqual([]);

  session.letGo("1", 3n);
  await vi.advanceTimersByTimeAsync(2_000);
  await deliveries.stop();

  const settled = [{ sessionId: session.sessionId, delivery: 3 }];
  expect(asked).toEqual([settled, settled]);
  expect(failed).toEqual([away]);
});
