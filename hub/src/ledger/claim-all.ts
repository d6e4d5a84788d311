import type { Fault } from "../domain/fault.js";
import { type ClaimItem, type ClaimResult, claimJobs } from "./claim-jobs.js";
import { claimMetered, type MeteredResult } from "./claim-metered.js";
import type { GroupCommit } from "./group-commit.js";

/** How often a claim is tried whose meters others use at the same time. */
const triesMax = 10;

/**
 * Claims jobs, each in the way that it needs: those before whose lanes meters stand, and those that turn out to declare
 * a key, under their meters; all others in one statement of plain jobs.
 */
export async function claimAll(
  writes: GroupCommit,
  items: readonly ClaimItem[],
  patienceMs: number,
): Promise<readonly (MeteredResult | Fault)[]> {
  const metered = items.filter(isMetered);
  if (metered.length === items.length) return claimUnder(writes, items, patienceMs);
  const plain = items.filter((item) => !isMetered(item));
  const [first, others] = await Promise.all([
    writes.commit(claimJobs, plain, patienceMs),
    metered.length > 0 ? claimUnder(writes, metered, patienceMs) : [],
  ]);
  const declaring = plain.filter((_, at) => first[at] === "metered");
  const declared = declaring.length > 0 ? [...(await claimUnder(writes, declaring, patienceMs))] : [];
  const [nextPlain, nextMetered] = [[...first].values(), [...others].values()];
  return items.map((item): MeteredResult | Fault => {
    if (isMetered(item)) return nextMetered.next().value as MeteredResult | Fault;
    const result = nextPlain.next().value as ClaimResult | Fault;
    return result === "metered" ? (declared.shift() as MeteredResult | Fault) : result;
  });
}

function isMetered({ meterIds = [] }: ClaimItem): boolean {
  return meterIds.length > 0;
}

async function claimUnder(
  writes: GroupCommit,
  items: readonly ClaimItem[],
  patienceMs: number,
): Promise<readonly (MeteredResult | Fault)[]> {
  const results = [...(await writes.commit(claimMetered, items, patienceMs))];
  for (let tries = 1; tries < triesMax; tries += 1) {
    const places = results.flatMap((result, at) => (result === "contended" ? [at] : []));
    if (places.length === 0) break;
    const again = await writes.commit(
      claimMetered,
      places.map((place) => items[place] as ClaimItem),
      patienceMs,
    );
    for (const [at, place] of places.entries()) results[place] = again[at] as MeteredResult | Fault;
  }
  return results;
}
