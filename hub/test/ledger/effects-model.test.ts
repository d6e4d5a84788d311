import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EffectItem } from "../../src/ledger/effect-items.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import {
  abandonEffect,
  claimEffect,
  completeEffect,
  holderOfScope,
  releaseEffect,
  renewEffect,
} from "../harness/effect-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
let hubs: readonly Ledger[];
let runs = 0;
beforeAll(async () => {
  room = await openLedgerRoom();
  hubs = [room.ledger, await room.openLedger(), await room.openLedger()];
});
afterAll(() => room.close());

/** What somebody does with an effect once it is theirs. "late" acts come after its lease ran out. */
const fate = fc.record({
  ttlMs: fc.integer({ min: 5, max: 40 }),
  workMs: fc.integer({ min: 0, max: 30 }),
  renewals: fc.integer({ min: 0, max: 2 }),
  end: fc.constantFrom("complete", "release", "abandon", "vanish"),
});
type Fate = typeof fate extends fc.Arbitrary<infer Value> ? Value : never;

interface Grant {
  readonly token: bigint;
  readonly requestId: string;
  readonly isTakenOver: boolean;
  readonly claimedAtMs: number;
  /** As told last, by the ledger's clock. */
  heldUntilMs: number;
  ending: "completed" | "given back" | "refused" | "none";
}

/** One who wants the effect done, until it is, or their turns are over. */
async function live(
  hub: Ledger,
  by: EffectItem,
  who: string,
  turns: readonly Fate[],
  grants: Grant[],
  results: string[],
) {
  for (const [turn, { ttlMs, workMs, renewals, end }] of turns.entries()) {
    const requestId = `${who}-${turn}`;
    const claim = await claimEffect(hub, by, { requestId, ttlMs });
    if (claim.type === "completed") {
      results.push(Buffer.from(claim.result).toString());
      return;
    }
    if (claim.type !== "acquired") {
      await sleep(claim.type === "held" ? Math.min(claim.timeLeftMs, 10) : 0);
      continue;
    }
    const { effectToken: token, heldUntilMs, isTakenOver } = claim;
    const claimedAtMs = heldUntilMs - ttlMs;
    const grant: Grant = { token, requestId, isTakenOver, claimedAtMs, heldUntilMs, ending: "none" };
    grants.push(grant);
    for (let renewal = 0; renewal < renewals; renewal += 1) {
      await sleep(workMs / (renewals + 1));
      const renewed = await renewEffect(hub, by, token, ttlMs);
      if (renewed?.type === "renewed") grant.heldUntilMs = renewed.heldUntilMs;
    }
    await sleep(workMs / (renewals + 1));
    if (end === "vanish") continue;
    const act = { complete: completeEffect, release: releaseEffect, abandon: abandonEffect }[end];
    const answer = await act(hub, by, token, requestId);
    if (answer?.type !== "written") grant.ending = "refused";
    else grant.ending = end === "complete" ? "completed" : "given back";
  }
}

describe("an effect that many want at once, at three hubs (D16, D17)", () => {
  it("has one holder at a time, is taken over only after its lease ran out, and is completed once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fate, { minLength: 1, maxLength: 6 }), { minLength: 2, maxLength: 8 }),
        async (lives) => {
          const by = holderOfScope(`run-${++runs}`);
          const grants: Grant[] = [];
          const results: string[] = [];
          await Promise.all(
            lives.map((turns, at) =>
              live(hubs[at % hubs.length] as Ledger, by, `w${at}`, turns, grants, results),
            ),
          );
          const inOrder = [...grants].sort((a, b) => Number(a.token - b.token));
          // Each grant has its own token, and none is left out.
          expect(inOrder.map(({ token }) => token)).toEqual(inOrder.map((_, at) => BigInt(at + 1)));
          for (const [at, grant] of inOrder.entries()) {
            const former = inOrder[at - 1];
            if (!former) {
              expect(grant.isTakenOver).toBe(false);
              continue;
            }
            // A renewal may have been refused only because this grant had come.
            if (grant.isTakenOver)
              expect(grant.claimedAtMs).toBeGreaterThanOrEqual(former.heldUntilMs - 0.01);
            expect(grant.isTakenOver).toBe(former.ending !== "given back");
            expect(former.ending).not.toBe("completed");
          }
          const completions = inOrder.filter(({ ending }) => ending === "completed");
          expect(completions.length).toBeLessThanOrEqual(1);
          const stored = await room.ledger.readEffect(1, by.name);
          expect(stored?.completedAtMs !== null).toBe(completions.length === 1);
          for (const result of results) expect(result).toBe(completions[0]?.requestId);
          // Whoever was refused had been overtaken.
          for (const { ending, token } of inOrder)
            if (ending === "refused") expect(token).toBeLessThan(inOrder.at(-1)?.token as bigint);
        },
      ),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
