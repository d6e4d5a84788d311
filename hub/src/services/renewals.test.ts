import { describe, expect, it } from "vitest";
import type { RenewItem } from "../ledger/renew-sessions.js";
import { Renewals } from "./renewals.js";

function renewal(number: number): RenewItem {
  return {
    sessionId: `session-${number}`,
    epoch: 1,
    ttlMs: 1_000,
    deliveredThrough: 0,
    isDraining: false,
    lastRequest: null,
  };
}

describe("renewals", () => {
  it("go at once when none went before, and those in their wake together, each with its own answer", async () => {
    const calls: string[][] = [];
    const renewals = new Renewals({
      renewSessions: async (items) => {
        calls.push(items.map(({ sessionId }) => sessionId));
        return items.map(({ sessionId }) => (sessionId === "session-3" ? "expired" : "renewed"));
      },
    });

    const first = renewals.renew(renewal(1), false);
    const others = [2, 3, 4].map((number) => renewals.renew(renewal(number), false));

    expect(calls).toEqual([["session-1"]]);
    expect(await first).toBe("renewed");
    expect(await Promise.all(others)).toEqual(["renewed", "expired", "renewed"]);
    expect(calls).toEqual([["session-1"], ["session-2", "session-3", "session-4"]]);
  });

  it("do not wait when a call does, and take along those that wait", async () => {
    const calls: string[][] = [];
    const renewals = new Renewals({
      renewSessions: async (items) => {
        calls.push(items.map(({ sessionId }) => sessionId));
        return items.map(() => "renewed");
      },
    });
    const all = [1, 2, 3].map((number) => renewals.renew(renewal(number), number === 3));
    expect(calls).toEqual([["session-1"], ["session-2", "session-3"]]);
    expect(await Promise.all(all)).toEqual(["renewed", "renewed", "renewed"]);
  });

  it("all fail when the ledger stays away, and the next ones are tried again", async () => {
    let isAway = true;
    const renewals = new Renewals({
      renewSessions: async (items) => {
        if (isAway) throw new Error("away");
        return items.map(() => "renewed");
      },
    });
    const lost = [renewals.renew(renewal(1), false), renewals.renew(renewal(2), false)];
    renewals.flush();
    expect((await Promise.allSettled(lost)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    isAway = false;
    expect(await renewals.renew(renewal(3), false)).toBe("renewed");
  });
});
