import { v7 as uuidv7 } from "uuid";
import { expect } from "vitest";
import type { EffectName } from "../../src/domain/effect.js";
import type { ClaimEffectItem, ClaimEffectResult } from "../../src/ledger/effect-claim.js";
import type { EffectItem } from "../../src/ledger/effect-items.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { claimOne, openSession, submitOne, unrefused } from "./ledger-acts.js";
import type { LedgerRoom } from "./ledger-room.js";

export const patienceMs = 10_000;

/** Somebody who acts on effects of a job under its lease. */
export async function holderOfJob(room: LedgerRoom, key = "mail"): Promise<EffectItem & { jobId: string }> {
  const [jobId, sessionId] = [await submitOne(room), await openSession(room)];
  const { fencingToken } = await claimOne(room.ledger, sessionId, jobId);
  const name: EffectName = { jobId, scope: null, key };
  return { tenantId: 1, subject: "", name, lease: { sessionId, fencingToken }, jobId };
}

/** Somebody who acts on effects of no job. */
export function holderOfScope(key: string, scope = "shop"): EffectItem {
  return { tenantId: 1, subject: "", name: { jobId: null, scope, key }, lease: null };
}

export async function claimEffect(
  ledger: Ledger,
  by: EffectItem,
  more: Partial<ClaimEffectItem> = {},
): Promise<ClaimEffectResult> {
  const item = { requestId: uuidv7(), ttlMs: 60_000, ...by, ...more };
  const [result] = unrefused(await ledger.claimEffects([item], patienceMs));
  return result as ClaimEffectResult;
}

/** The effect token of a claim that must be granted. */
export async function acquire(
  ledger: Ledger,
  by: EffectItem,
  more: Partial<ClaimEffectItem> = {},
): Promise<bigint> {
  const result = await claimEffect(ledger, by, more);
  if (result.type !== "acquired") throw new Error(`not granted: ${JSON.stringify(result.type)}`);
  return result.effectToken;
}

export async function completeEffect(ledger: Ledger, by: EffectItem, effectToken: bigint, result = "sent") {
  const item = { ...by, effectToken, result: Buffer.from(result), contentType: "text/plain" };
  return unrefused(await ledger.completeEffects([item], patienceMs))[0];
}

export async function renewEffect(ledger: Ledger, by: EffectItem, effectToken: bigint, ttlMs = 60_000) {
  return unrefused(await ledger.renewEffects([{ ...by, effectToken, ttlMs }], patienceMs))[0];
}

export async function releaseEffect(ledger: Ledger, by: EffectItem, effectToken: bigint) {
  return unrefused(await ledger.giveBackEffects([{ ...by, effectToken, reason: null }], patienceMs))[0];
}

export async function abandonEffect(
  ledger: Ledger,
  by: EffectItem,
  effectToken: bigint | null,
  reason = "the till is on fire",
) {
  return unrefused(await ledger.giveBackEffects([{ ...by, effectToken, reason }], patienceMs))[0];
}

/** Lets the lease of an effect run out, without waiting for it. */
export async function runOut(room: LedgerRoom, by: EffectItem): Promise<void> {
  const { jobId, scope, key } = by.name;
  await room.sql(
    `update effect set expires_at = now() - interval '1 ms'
     where key = $1 and scope = $2 and ($3::uuid is null or job_id = $3)`,
    [key, scope ?? "", jobId],
  );
}

/** What must be the same before and after an act that is refused. */
function everything(room: LedgerRoom): Promise<unknown> {
  const tables = ["effect", "job_note", "job_summary", "event", "job"];
  return Promise.all(tables.map((table) => room.sql(`select * from ${table} t order by t::text`)));
}

export async function expectNoChange(room: LedgerRoom, act: () => Promise<unknown>): Promise<unknown> {
  const before = await everything(room);
  const answer = await act();
  expect(await everything(room)).toEqual(before);
  return answer;
}
