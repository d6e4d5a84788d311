// What a consumer of the stream of events saw, held against the events in the ledger.
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { nowMs } from "../wall-clock.js";
import type { EventFollower, EventName } from "./event-follower.js";
import { type Check, shown } from "./verify.js";

interface LedgerEvent extends EventName {
  readonly atMs: number;
}

const allWithinMs = 60_000;
/** The follower reads in the same process. */
const lookEveryMs = 1_000;

/** From when to when what was written may be gone from the stream: NATS was without its data at the end of it. */
export interface Wipe {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Waits, for a minute at most, until everything that is in the ledger came; answers what did not. */
export async function unseenEvents(
  databaseUrl: string,
  follower: EventFollower,
  wipes: readonly Wipe[],
): Promise<LedgerEvent[]> {
  let unseen = (await readEvents(databaseUrl)).filter((event) => !isWiped(event, wipes));
  const giveUpAtMs = nowMs() + allWithinMs;
  for (;;) {
    unseen = unseen.filter((event) => !follower.hasSeen(event));
    if (unseen.length === 0 || nowMs() > giveUpAtMs) return unseen;
    await delay(lookEveryMs);
  }
}

/** A stream that is wiped takes events along: those may be missing, or come again and late, and no other. */
export async function verifyEvents(
  databaseUrl: string,
  follower: EventFollower,
  wipes: readonly Wipe[],
): Promise<Check[]> {
  const unseen = await unseenEvents(databaseUrl, follower, wipes);
  const late = new Set(follower.late.map(nameOf));
  const disordered = (await readEvents(databaseUrl)).filter(
    (event) => late.has(nameOf(event)) && !isWiped(event, wipes),
  );
  return [
    { clause: "D20", promise: "every event came out in the stream of events", broken: shown(unseen) },
    { clause: "D21", promise: "the events of each job came out in order", broken: shown(disordered) },
  ];
}

function isWiped({ atMs }: LedgerEvent, wipes: readonly Wipe[]): boolean {
  return wipes.some(({ fromMs, toMs }) => atMs > fromMs && atMs < toMs);
}

function nameOf({ jobId, revision }: EventName): string {
  return `${jobId} ${revision}`;
}

async function readEvents(databaseUrl: string): Promise<LedgerEvent[]> {
  const client = new pg.Client({ connectionString: databaseUrl, options: "-c search_path=holdfast" });
  await client.connect();
  try {
    const { rows } = await client.query<LedgerEvent>(
      `select job_id::text as "jobId", revision, extract(epoch from at)::double precision * 1000 as "atMs" from event`,
    );
    return rows;
  } finally {
    await client.end();
  }
}
