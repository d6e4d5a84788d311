import { specOfEntry } from "../../src/domain/inbox.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { unrefused } from "./ledger-acts.js";
import type { LedgerRoom } from "./ledger-room.js";

/** Adopts what waits in the inbox, as a hub does; answers the ids of jobs that this made. */
export async function adoptAll(room: LedgerRoom, ledger: Ledger = room.ledger): Promise<string[]> {
  const entries = await ledger.readInbox(0, 1_000);
  if (entries.length === 0) return [];
  const items = await Promise.all(
    entries.map(async (entry) => {
      const { jobId, tenantId } = entry;
      const spec = specOfEntry(entry, 1 << 20);
      if (spec instanceof Error) throw spec;
      const { product, queue, kind, priority, capabilities } = spec;
      const lane = await room.makeLane({ product, queue, kind, priority, capabilities });
      return { jobId, tenantId, laneId: lane.laneId, spec, leaseTo: null };
    }),
  );
  const results = unrefused(await ledger.adopt(items));
  return results.flatMap((result) => (result.type === "accepted" ? [result.jobId] : []));
}
