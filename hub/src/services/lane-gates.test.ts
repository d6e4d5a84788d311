import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Gate, GateType } from "../domain/gate.js";
import type { Lane } from "../domain/lane.js";
import { Allowances } from "./allowances.js";
import { GateBook } from "./gate-book.js";
import { GateRooms } from "./gate-rooms.js";
import { GatedLanes } from "./lane-gates.js";

const lane: Lane = {
  ...{ laneId: 1, retryLaneId: 2, isRetry: false, tenantId: 1, product: "shop", queue: "mail", kind: "send" },
  ...{ priority: 2, capabilities: [], source: "", fairnessKey: "" },
};
/** From nine to ten. */
const blackout: Gate = {
  ...{ gateId: 1, tenantId: 1, type: GateType.Blackout, target: { type: "tenant" }, sinceMs: 0 },
  settings: {
    note: "",
    timeZone: "UTC",
    windows: [{ days: [1, 2, 3, 4, 5, 6, 7], fromMinute: 540, toMinute: 600 }],
  },
};
const nineMs = Date.parse("2026-06-01T09:00:00Z");
const hourMs = 3_600_000;

/** Gates behind a blackout, of a ledger whose clock is ahead of this machine's by so much. */
async function gatesOf(ledger: { aheadMs: number; answersAfterMs: number }) {
  const answer = async () => {
    const nowMs = Date.now() + ledger.aheadMs;
    vi.advanceTimersByTime(ledger.answersAfterMs);
    return { epoch: 1, nowMs };
  };
  const book = new GateBook(
    { readGateEpoch: answer, readGates: async () => ({ ...(await answer()), gates: [blackout] }) },
    (error) => {
      throw error;
    },
  );
  await book.load();
  const quiet = {
    granted: () => undefined,
    drawn: () => undefined,
    turned: () => undefined,
    failed: () => undefined,
  };
  const gates = new GatedLanes(book, new GateRooms(), new Allowances({ drawRates: async () => [] }, quiet));
  return { book, gates };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a lane in front of which a blackout begins", () => {
  it.each([
    ["with the ledger's", 0],
    ["an hour behind the ledger's", hourMs],
    ["an hour ahead of the ledger's", -hourMs],
  ])("is held to the millisecond, by a hub whose clock goes %s (D23)", async (_, aheadMs) => {
    vi.setSystemTime(nineMs - aheadMs - 1);
    const { gates } = await gatesOf({ aheadMs, answersAfterMs: 0 });
    expect(gates.isShut(lane)).toBe(false);
    expect(gates.holdAt(blackout)).toBeNull();

    vi.advanceTimersByTime(1);

    expect(gates.isShut(lane)).toBe(true);
    expect(gates.startsMax(lane)).toBe(0);
    expect(gates.holdAt(blackout)).toMatchObject({ untilMs: nineMs + hourMs });
    vi.advanceTimersByTime(hourMs - 1);
    expect(gates.isShut(lane)).toBe(true);
    vi.advanceTimersByTime(1);
    expect(gates.isShut(lane)).toBe(false);
  });
});

describe("the ledger's clock", () => {
  it("is believed as far as answers tell, which slow ones do the less", async () => {
    const ledger = { aheadMs: hourMs, answersAfterMs: 20 };
    vi.setSystemTime(nineMs);
    const { book } = await gatesOf(ledger);
    const errorMs = () => Math.abs(book.ledgerNowMs() - Date.now() - ledger.aheadMs);
    expect(errorMs()).toBeLessThanOrEqual(20);

    ledger.answersAfterMs = 5_000;
    await book.load();
    expect(errorMs()).toBeLessThanOrEqual(20);

    // The wall clock of this machine is nothing to it.
    vi.setSystemTime(Date.now() - 10 * hourMs);
    ledger.aheadMs += 10 * hourMs;
    expect(errorMs()).toBeLessThanOrEqual(20);

    ledger.aheadMs -= 60_000;
    ledger.answersAfterMs = 2;
    await book.load();
    expect(errorMs()).toBeLessThanOrEqual(2);
  });
});
