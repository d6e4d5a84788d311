import { describe, expect, it } from "vitest";
import { type BudgetSettings, GateType } from "../../src/domain/gate.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { ReadLevel } from "../../src/domain/meter.js";
import { lastUuid } from "../../src/domain/uuid.js";
import { done, failed, reportItem, submitMany } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";
import {
  claimUnder,
  estimated,
  expectMetersConserved,
  leasesOf,
  operator,
  setGate,
  stopsOf,
} from "../harness/meter-acts.js";

const desk = await openLedgerDesk();
const { room, sessionId } = desk;
const { ledger } = room;
const claim = claimUnder(desk);

async function budget(product: string, settings: Partial<BudgetSettings>) {
  const { gateId } = await setGate(
    room,
    { type: "product", product },
    {
      type: GateType.Budget,
      settings: {
        ...{ note: "", costMax: null, tokensMax: null, window: "day", timeZone: "UTC" },
        ...{ alertPercent: 80, isPaused: false },
        ...settings,
      },
    },
  );
  return gateId;
}

async function levelOf(gateId: number): Promise<ReadLevel> {
  return (await ledger.readMeterLevels([gateId])).get(gateId) as ReadLevel;
}

async function leased(gateId: number, cost: number): Promise<GrantedLease> {
  const [lease] = leasesOf(await claim(await submitMany(room, 1, { options: estimated(cost) }), [gateId]));
  if (!lease) throw new Error("The budget let nothing pass.");
  return lease;
}

/** A time zone in which it is that hour of the day. */
function zoneAtHour(hour: number): string {
  const offset = ((hour - new Date().getUTCHours() + 36) % 24) - 12;
  return `Etc/GMT${offset <= 0 ? "+" : "-"}${Math.abs(offset)}`;
}

describe("a budget", () => {
  it("holds the estimate at the claim and is settled at what was spent, once (D18)", async () => {
    const gateId = await budget("settle", { costMax: 1_000_000 });
    const lease = await leased(gateId, 600_000);
    expect(await levelOf(gateId)).toMatchObject({ cost: 600_000, spentCost: 0 });
    const spend = { costMicroUsd: 450_000, tokens: 12 };
    const report = { ...reportItem(sessionId, lease, done), spend };

    await ledger.report([report]);
    expect(await ledger.report([report])).toEqual([{ type: "duplicate" }]);

    expect(await levelOf(gateId)).toMatchObject({ cost: 450_000, spentCost: 450_000, spentTokens: 12 });
    await leased(gateId, 100_000);
    expect(await levelOf(gateId)).toMatchObject({ cost: 550_000, spentCost: 450_000 });
    expect(
      await room.sql(
        "select held_cost::float8, settled_cost::float8, refunded_cost::float8, open_cost::float8 from meter where meter_id = $1",
        [gateId],
      ),
    ).toEqual([{ held_cost: 700_000, settled_cost: 450_000, refunded_cost: 150_000, open_cost: 100_000 }]);
    await expectMetersConserved(room);
  });

  it("settles the estimate of a report without a word, and refunds what was taken back", async () => {
    const gateId = await budget("refund", { costMax: 1_000_000 });
    const [one, two, three] = [
      await leased(gateId, 1_000),
      await leased(gateId, 2_000),
      await leased(gateId, 4_000),
    ];
    await ledger.report([reportItem(sessionId, one, failed)]);
    await desk.takeBack(two.jobId);
    await ledger.recordSpend([
      { jobId: three.jobId, sessionId, fencingToken: three.fencingToken, costMicroUsd: 9_000, tokens: 1 },
      { jobId: three.jobId, sessionId, fencingToken: three.fencingToken, costMicroUsd: 8_000, tokens: 2 },
    ]);
    await desk.takeBack(three.jobId);

    expect(await levelOf(gateId)).toMatchObject({ cost: 10_000, spentCost: 10_000, spentTokens: 2, jobs: 0 });
    await leased(gateId, 1);
    await expectMetersConserved(room);
  });

  it("takes no word of a lease that is not current (D4)", async () => {
    const gateId = await budget("stale", { costMax: 1_000_000 });
    const lease = await leased(gateId, 1_000);
    const spend = {
      jobId: lease.jobId,
      sessionId,
      fencingToken: lease.fencingToken,
      costMicroUsd: 5,
      tokens: 5,
    };
    const other = { ...spend, sessionId: lastUuid };
    const older = { ...spend, fencingToken: lease.fencingToken - 1n };

    expect(await ledger.recordSpend([other, older])).toEqual([false, false]);
    expect(await ledger.recordSpend([spend])).toEqual([true]);
  });

  it("at its ceiling lets nothing pass until its window turns", async () => {
    const gateId = await budget("window", { costMax: 500, window: "month", timeZone: "Europe/Berlin" });
    const lease = await leased(gateId, 500);
    await ledger.report([reportItem(sessionId, lease, done)]);
    const [free] = await submitMany(room, 1);

    const [stop] = stopsOf(await claim([free as string], [gateId]));

    expect(stop?.reason).toBe("product:window is at its limit of 0.0005 US dollars");
    const { turnsAtMs, windowBeganAtMs } = await levelOf(gateId);
    expect((await ledger.readParking(free as string))?.nextAtMs).toBe(turnsAtMs);
    expect(turnsAtMs ?? 0).toBeGreaterThan(windowBeganAtMs ?? 0);
    // As if what was spent had been spent in the window before.
    await room.sql(
      "update meter set window_began_at = window_began_at - interval '40 days' where meter_id = $1",
      [gateId],
    );
    await room.sql("update hold_end set at = at - interval '40 days' where meter_id = $1", [gateId]);
    expect(await levelOf(gateId)).toMatchObject({ cost: 0, spentCost: 0 });
    await leased(gateId, 400);
    expect(await levelOf(gateId)).toMatchObject({ cost: 400, spentCost: 0 });
    await expectMetersConserved(room);
  });

  it.each([
    ["zone", "day"],
    ["window", "month"],
  ] as const)(
    "keeps what is spent when its %s changes to one that began later (D18)",
    async (what, window) => {
      const product = `moved-${what}`;
      const gateId = await budget(product, { costMax: 1_000, window, timeZone: zoneAtHour(22) });
      await ledger.report([reportItem(sessionId, await leased(gateId, 600), done)]);
      const late = await leased(gateId, 200);
      await leased(gateId, 100);
      // One that no claim has counted out yet, from before the new window.
      await ledger.report([reportItem(sessionId, late, done)]);
      await room.sql("update hold_end set at = at - interval '10 hours' where meter_id = $1", [gateId]);
      expect(await levelOf(gateId)).toMatchObject({ cost: 900, spentCost: 800 });

      await budget(product, { costMax: 1_000, window: "day", timeZone: zoneAtHour(2) });

      expect(await levelOf(gateId)).toMatchObject({ cost: 900, spentCost: 800 });
      const asked = await submitMany(room, 1, { options: estimated(101) });
      expect(stopsOf(await claim(asked, [gateId]))).toHaveLength(1);
      expect(await levelOf(gateId)).toMatchObject({ cost: 900, spentCost: 800 });
      await expectMetersConserved(room);
    },
  );

  it("brings nothing back of a window that is over when it is changed", async () => {
    const gateId = await budget("over", { costMax: 1_000, timeZone: zoneAtHour(22) });
    await ledger.report([reportItem(sessionId, await leased(gateId, 600), done)]);
    await leased(gateId, 1);
    await room.sql(
      "update meter set window_began_at = window_began_at - interval '1 day' where meter_id = $1",
      [gateId],
    );

    await budget("over", { costMax: 1_000, timeZone: zoneAtHour(2) });

    expect(await levelOf(gateId)).toMatchObject({ cost: 1, spentCost: 0 });
  });

  it("counts spend from outside once per request", async () => {
    const gateId = await budget("outside", { costMax: 1_000, tokensMax: 100 });
    const accrual = {
      ...{ tenantId: 1, requestId: "invoice-1", product: "outside", note: "" },
      ...{ costMicroUsd: 700, tokens: 3 },
    };
    const answers = await Promise.all([1, 2, 3].map(() => ledger.accrueSpend(accrual)));

    expect(answers.sort()).toEqual(["accrued", "duplicate", "duplicate"]);
    expect(await ledger.accrueSpend({ ...accrual, tokens: 4 })).toBe("conflict");
    expect(await ledger.accrueSpend({ ...accrual, requestId: "2", product: "none" })).toBe(
      "budget_not_found",
    );
    expect(await levelOf(gateId)).toMatchObject({ cost: 700, tokens: 3 });
    expect(
      stopsOf(await claim(await submitMany(room, 1, { options: estimated(301) }), [gateId])),
    ).toHaveLength(1);
    expect(
      leasesOf(await claim(await submitMany(room, 1, { options: estimated(300) }), [gateId])),
    ).toHaveLength(1);
    await expectMetersConserved(room);
  });

  it("is told of once per window when it is nearly spent, and kept among the operations", async () => {
    const gateId = await budget("notice", { costMax: 100 });
    await leased(gateId, 85);
    const level = await levelOf(gateId);
    expect(level).toMatchObject({ isWarned: false, isExhausted: false });

    const told = await Promise.all([1, 2, 3].map(() => ledger.tellBudget(level, "nearly_spent")));

    expect(told.filter((one) => one)).toHaveLength(1);
    expect(await levelOf(gateId)).toMatchObject({ isWarned: true, isExhausted: false });
    const [kept] = await ledger.listOperations(operator.tenantId, "product:notice", lastUuid, 1);
    expect(kept).toMatchObject({ subject: "holdfast", action: "budget.alert", after: { costMicroUsd: 85 } });
  });
});
