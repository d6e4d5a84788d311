import type { ForwardClaim } from "../ledger/forward-cursors.js";
import type { Ledger } from "../ledger/ledger.js";
import { type ForwardingParts, forwardNextPages } from "./page-forwarding.js";

export interface TakeOverParts {
  readonly ledger: Pick<Ledger, "writerId" | "claimCursor" | "saveCursor" | "settleWriter">;
  readonly forwarding: ForwardingParts;
  readonly claimTtlMs: number;
  readonly saveIntervalMs: number;
  readonly pagesPerReadMax: number;
  /** After a step that took so long, by the monotonic clock. */
  readonly makeRoom: (stepMs: number) => Promise<void>;
  readonly isRunning: () => boolean;
}

/**
 * Forwards what a writer that nobody forwards had committed when it was claimed; answers how many pages that were. A
 * life that is over is then done; a hub that only stood still, or does not forward, gets its pages back.
 */
export async function takeOver(parts: TakeOverParts, writerId: number): Promise<number> {
  const { ledger, forwarding, claimTtlMs, saveIntervalMs, pagesPerReadMax: pagesMax, isRunning } = parts;
  const { name } = forwarding.sink;
  const claimed = await ledger.claimCursor(name, writerId, ledger.writerId, claimTtlMs);
  if (!claimed) return 0;
  const { isEnded, lastPage } = await ledger.settleWriter(writerId);
  const save = (next: { ttlMs: number; isDone: boolean }) =>
    ledger.saveCursor(name, claim, ledger.writerId, next);
  let claim: ForwardClaim = claimed;
  let savedAtMs = performance.now();
  while (isRunning() && (isEnded || claim.forwardedThrough < lastPage)) {
    const startedAtMs = performance.now();
    const next = await forwardNextPages(forwarding, claim, { pagesMax, isEnded, lastPage });
    if (!next) break;
    claim = next;
    await parts.makeRoom(performance.now() - startedAtMs);
    if (performance.now() - savedAtMs < saveIntervalMs) continue;
    if (!(await save({ ttlMs: claimTtlMs, isDone: false }))) return 0;
    savedAtMs = performance.now();
  }
  await save({ ttlMs: 0, isDone: isEnded && isRunning() });
  return claim.forwardedThrough - claimed.forwardedThrough;
}
