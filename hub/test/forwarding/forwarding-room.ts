import type { ForwardedEvent } from "../../src/domain/forwarded-event.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { defaultForwarderSettings, Forwarder, type ForwarderSettings } from "../../src/services/forwarder.js";
import type { MemorySink } from "../../src/sinks/memory-sink.js";
import type { LedgerRoom } from "../harness/ledger-room.js";

/** A hub as far as forwarding goes: a forwarder over a ledger of its own, into a sink that others may share. */
export interface ForwardingHub {
  readonly forwarder: Forwarder;
  readonly errors: unknown[];
  readonly tookOver: { writerId: number; pages: number }[];
}

export const quick: ForwarderSettings = {
  ...defaultForwarderSettings,
  claimTtlMs: 400,
  saveIntervalMs: 20,
  lookIntervalMs: 30,
  pagesPerReadMax: 4,
  busyShare: 1,
  drainMs: 500,
};

export async function startForwarder(
  room: LedgerRoom,
  ledger: Ledger,
  sink: MemorySink,
  settings: Partial<ForwarderSettings> = {},
): Promise<ForwardingHub> {
  const errors: unknown[] = [];
  const tookOver: { writerId: number; pages: number }[] = [];
  const forwarder = new Forwarder(
    ledger,
    sink,
    { ...quick, ...settings },
    {
      forwarded: () => undefined,
      failed: (error) => errors.push(error),
      tookOver: (writerId, pages) => tookOver.push({ writerId, pages }),
      waiting: () => undefined,
    },
  );
  room.onPage((writerId, page) => {
    if (writerId === ledger.currentWriterId()) forwarder.pageCommitted(writerId, page);
  });
  await forwarder.start();
  return { forwarder, errors, tookOver };
}

export function eventsIn(sink: MemorySink): ForwardedEvent[] {
  return sink.published.flatMap((one) => (one.type === "job" ? [one.event] : []));
}

/** Revisions of each job, as a consumer sees them that drops ids which it has seen. */
export function revisionsSeen(sink: MemorySink): Map<string, number[]> {
  const ids = new Set<string>();
  const jobs = new Map<string, number[]>();
  for (const { eventId, jobId, revision } of eventsIn(sink)) {
    if (ids.has(eventId)) continue;
    ids.add(eventId);
    jobs.set(jobId, [...(jobs.get(jobId) ?? []), revision]);
  }
  return jobs;
}

/** What the ledger says of some writers' events: every job with its revisions from the first. */
export async function revisionsInLedger(room: LedgerRoom): Promise<Map<string, number[]>> {
  const rows = await room.sql<{ job_id: string; revisions: number[] }>(
    "select job_id, array_agg(revision order by revision) as revisions from event group by job_id",
  );
  return new Map(rows.map((row) => [row.job_id, row.revisions]));
}

export async function cursorOf(room: LedgerRoom, writerId: number) {
  const [row] = await room.sql<{ through: number; is_done: boolean; claimed_by: number | null }>(
    "select forwarded_through::integer as through, is_done, claimed_by from forward_cursor where writer_id = $1",
    [writerId],
  );
  return row;
}
