// Claims jobs that meters stand before: caps, budgets, seats, keys that they declare (docs/adr/0031). Where there is plainly
// room, one statement grants all. Else what they ask for and how much is taken is read without a lock; the rule of
// domain/meter.ts decides who may start; the statement that grants locks the meters, adds up once more what it is about
// to grant, and does nothing at all if that fits no longer.
//
// Invariants
//  1. Meters are locked in the order of their numbers, after the sessions and before any job; whoever ends a lease locks
//     none. So nobody waits in a circle.
//  2. What is granted, what it holds and what its meters count are written in one statement, or not at all.
//  3. What leases let go is subtracted under the lock of the meter, once: by the one who deletes its row.
import { admit, type MeterLimits, type ReadLevel } from "../domain/meter.js";
import {
  type ClaimItem,
  type ClaimResult,
  type GrantRow,
  readHeld,
  readHeldSessions,
  type StoppedJob,
  toGrants,
} from "./claim-jobs.js";
import { distinctItems } from "./distinct-items.js";
import { classifyFailure } from "./failure.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { easyClaim, judgedText } from "./metered-claim-text.js";
import { makeMetersText, type ReadAsk, readAsks, readLevels } from "./meters.js";
import { booleanArray, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export type MeteredResult =
  | Exclude<ClaimResult, "metered">
  | StoppedJob
  /** Others took meanwhile what it was to get: it is to be tried again. Nothing was claimed. */
  | "contended";

/** A meter that is missing is made, and may be forgotten before it is used. */
const looksMax = 5;
/** Above the score of whatever has no right to come first. */
const firstScore = 1e12;

type MeteredRow = GrantRow & { readonly fits: boolean; readonly stopped_ids: readonly string[] };

/** What one try decided, before it is written. */
interface Plan {
  readonly items: readonly ClaimItem[];
  readonly asks: ReadonlyMap<string, ReadAsk>;
  readonly levels: ReadonlyMap<number, ReadLevel>;
  readonly stops: ReadonlyMap<string, StoppedJob & { readonly untilMs: number | null }>;
}

/** Claims jobs under meters, each or none of what it needs. */
export const claimMetered: BatchStatement<ClaimItem, MeteredResult> = {
  name: "claim_metered",
  itemsMax: 512,
  bytesMax: 64 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    const distinct = [...distinctItems(items, (item) => item.jobId).values()];
    const holders = uuidArray([...new Set(distinct.map((item) => item.sessionId))]);
    const gateEpoch = Math.min(...distinct.map((item) => item.gateEpoch));
    const found = new Map<string, MeteredResult>();
    if (on.isRetry) for (const [id, lease] of await readBack(on, distinct)) found.set(id, lease);
    const open = distinct.filter((item) => !found.has(item.jobId));
    const mayBeEasy =
      !on.isRetry && open.length > 0 && open.every(({ meterIds = [] }) => meterIds.length > 0);
    const easy = mayBeEasy ? await writeEasy(on, open, holders, gateEpoch) : [];
    const isEasy = easy[0]?.fits === true;
    const plan = open.length > 0 && !isEasy ? await decide(on, open) : null;
    const judged = plan && plan.asks.size > 0 ? await write(on, plan, holders, gateEpoch) : [];
    const rows = isEasy ? easy : judged;
    const grants = rows.filter((row) => row.id !== null);
    const leases = await toGrants((query) => on.connection.query(query), grants);
    for (const [id, lease] of leases) found.set(id, lease);
    const stoppedIds = rows[0]?.stopped_ids ?? [];
    for (const id of stoppedIds) found.set(id, plan?.stops.get(id) as StoppedJob);
    const isContended = rows.length > 0 && rows[0]?.fits !== true;
    const isOpen = distinct.some((item) => !found.has(item.jobId));
    const held = isOpen ? await readHeldSessions(on, holders, uuidArray([])) : null;
    const answers = new Map<ClaimItem, MeteredResult>();
    for (const item of distinct) {
      const result = found.get(item.jobId);
      if (result !== undefined) answers.set(item, result);
      else if (held?.sessionIds.has(item.sessionId) === false) answers.set(item, "superseded");
      else if (held && held.gateEpoch !== gateEpoch) answers.set(item, "gates_changed");
      else if (isContended && plan?.asks.has(item.jobId)) answers.set(item, "contended");
    }
    return {
      results: items.map((item) => answers.get(item) ?? null),
      wrotePage: grants.length > 0 || stoppedIds.length > 0,
    };
  },
};

/** After a failure: what the try before granted to these very deliveries. */
async function readBack(on: BatchContext, items: readonly ClaimItem[]) {
  const rows = await readHeld(
    on,
    items.map((item) => item.jobId),
    uuidArray(items.map((item) => item.sessionId)),
    numberArray(items.map((item) => item.delivery)),
  );
  return toGrants((query) => on.connection.query(query), rows);
}

/** Grants all that are ready; nothing, and no row that says that it fits, when there is not plainly room for them. */
async function writeEasy(
  on: BatchContext,
  items: readonly ClaimItem[],
  holders: Buffer,
  gateEpoch: number,
): Promise<readonly MeteredRow[]> {
  try {
    const ids = items.map((item) => item.jobId);
    const { rows } = await on.connection.query<MeteredRow>({
      ...easyClaim(on.jobTable(ids)),
      values: [
        on.writerId,
        on.batch,
        uuidArray(ids),
        uuidArray(items.map((item) => item.sessionId)),
        numberArray(items.map((item) => item.delivery)),
        holders,
        gateEpoch,
        items.map(({ meterIds = [] }) => numberArray(meterIds)),
        numberArray([...new Set(items.flatMap(({ meterIds = [] }) => meterIds))]),
      ],
    });
    return rows;
  } catch (error) {
    if (classifyFailure(error) !== "conflict") throw error;
    return [];
  }
}

async function decide(on: BatchContext, items: readonly ClaimItem[]): Promise<Plan> {
  const query = on.connection.query.bind(on.connection);
  const wanted = new Map(items.map((item) => [item.jobId, item]));
  const gateIds = [...new Set(items.flatMap(({ meterIds = [] }) => meterIds))];
  for (let tries = 1; ; tries += 1) {
    // Sent together: only the meters of declared keys are known no sooner than the jobs.
    const [asks, gateLevels] = await Promise.all([readAsks(query, wanted), readLevels(query, gateIds)]);
    const meterIds = asks ? [...new Set([...gateIds, ...asks.flatMap((ask) => ask.meterIds)])] : [];
    const keyIds = meterIds.filter((id) => !gateIds.includes(id));
    const keyLevels = keyIds.length > 0 ? await readLevels(query, keyIds) : [];
    const levels = new Map([...gateLevels, ...keyLevels]);
    const isComplete = asks !== null && meterIds.every((id) => levels.has(id));
    if (!isComplete && tries < looksMax) {
      const made = await on.connection.query({
        name: "make_meters",
        text: makeMetersText,
        values: [uuidArray([...wanted.keys()]), numberArray(gateIds)],
      });
      if (asks === null || (made.rowCount ?? 0) > 0) continue;
    }
    if (asks === null) throw new Error("A declared key has no meter, though it was made.");
    const admissions = admit(levels, asks);
    const stops = new Map<string, StoppedJob & { readonly untilMs: number | null }>();
    for (const [id, admission] of admissions)
      if (admission.type === "refused")
        stops.set(id, {
          stoppedAt: admission.meterId,
          reason: admission.reason,
          untilMs: admission.untilMs,
        });
    return { items, asks: new Map(asks.map((ask) => [ask.jobId, ask])), levels, stops };
  }
}

async function write(
  on: BatchContext,
  { items, asks, levels, stops }: Plan,
  holders: Buffer,
  gateEpoch: number,
): Promise<readonly MeteredRow[]> {
  const ready = items.filter((item) => asks.has(item.jobId));
  const askOf = (item: ClaimItem) => asks.get(item.jobId) as ReadAsk;
  // A critical job that may take a seat is the first to get one that is free, whatever waits longer.
  const isFirst = (item: ClaimItem) =>
    askOf(item).isCritical && levels.get(stopOf(item)?.stoppedAt ?? 0)?.isPreemptive === true;
  const stopOf = (item: ClaimItem) => stops.get(item.jobId);
  // A gate that was removed since has no meter; the epoch says so, and nothing is granted.
  const limits = [...levels.values()].map((level) => ({ level, limits: limitsUnder(level, asks, stops) }));
  const { rows } = await on.connection.query<MeteredRow>({
    name: "claim_metered",
    text: judgedText,
    values: [
      on.writerId,
      on.batch,
      uuidArray(ready.map((item) => item.jobId)),
      uuidArray(ready.map((item) => item.sessionId)),
      numberArray(ready.map((item) => item.delivery)),
      holders,
      gateEpoch,
      booleanArray(ready.map((item) => !stops.has(item.jobId))),
      numberArray(ready.map((item) => askOf(item).cost)),
      numberArray(ready.map((item) => askOf(item).tokens)),
      numberArray(ready.map((item) => askOf(item).score + (isFirst(item) ? firstScore : 0))),
      ready.map((item) => numberArray(askOf(item).meterIds.filter((id) => levels.has(id)))),
      numberArray(
        ready.map((item) => askOf(item).meterIds.find((id) => levels.get(id)?.isPreemptive) ?? null),
      ),
      numberArray(ready.map((item) => askOf(item).priority)),
      numberArray(ready.map((item) => stopOf(item)?.stoppedAt ?? null)),
      ready.map((item) => stopOf(item)?.reason ?? null),
      numberArray(ready.map((item) => stopOf(item)?.untilMs ?? null)),
      numberArray(limits.map(({ level }) => level.meterId)),
      numberArray(limits.map(({ limits }) => limits.jobsMax)),
      numberArray(limits.map(({ limits }) => limits.costMax)),
      numberArray(limits.map(({ limits }) => limits.tokensMax)),
    ],
  });
  return rows;
}

/**
 * What the statement compares with. Where jobs declare limits of their own, nobody may have taken anything since it was
 * decided, because who comes first decides who fits.
 */
function limitsUnder(
  level: ReadLevel,
  asks: ReadonlyMap<string, ReadAsk>,
  stops: ReadonlyMap<string, unknown>,
): MeterLimits {
  const granted = [...asks.values()].filter(
    ({ jobId, declared }) => declared?.meterId === level.meterId && !stops.has(jobId),
  );
  if (!granted.some((ask) => ask.declared?.jobsMax !== null)) return level.limits;
  return { ...level.limits, jobsMax: level.jobs + granted.length };
}
