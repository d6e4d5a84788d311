// Pages of events on their way to a sink, read by key: neither the backlog, nor other writers, nor a transaction that
// is open elsewhere makes them dearer or holds them up.
import type { DroppedPages, EventPage, ForwardedEvent, PagePlace } from "../domain/forwarded-event.js";
import type { JobEventType, JobState } from "../domain/job-state.js";
import type { ForwardClaim } from "./forward-cursors.js";
import type { ReadPool } from "./read-pool.js";
import { isByKeyOf, numberArray, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

/**
 * Pages of a writer after the one that is forwarded, in order. Partitions exist three days ahead at most, so however
 * the server's clock was set back, later pages lie at most that far before earlier ones.
 *
 * With one tenant alone every job is its; with several the jobs are asked. A page that holds a job twice links its
 * first event alone to an earlier page, so within a page the revisions say the order.
 */
const readPagesText = `
with sole as (select min(name) as name from tenant having count(*) = 1),
pages as (
  select at, batch, items from event_page
  where writer_id = $1 and batch > $2 and at > $3::timestamptz - interval '5 days'
  order by batch limit $4
)
select p.batch, p.at::text as page_at, ${toMs("p.at")} as at_ms, e.ordinal, e.job_id, e.type, e.state, e.revision,
  e.attempt, e.fencing_token, e.session_id, e.reason, e.prior_writer, e.prior_batch, e.prior_at::text,
  coalesce((select name from sole),
    (select t.name from job j join tenant t on t.tenant_id = j.tenant_id where j.id = e.job_id)) as tenant
from pages p left join lateral unnest(p.items) with ordinality
  as e (job_id, type, state, revision, attempt, fencing_token, session_id, reason, prior_at, prior_writer, prior_batch, ordinal)
  on true
order by p.batch, e.revision, e.ordinal`;

interface EventRow {
  readonly batch: string;
  readonly page_at: string;
  readonly at_ms: number;
  readonly ordinal: string | null;
  readonly job_id: string;
  readonly type: JobEventType;
  readonly state: JobState;
  readonly revision: number;
  readonly attempt: number;
  readonly fencing_token: string;
  readonly session_id: string | null;
  readonly reason: string | null;
  readonly prior_writer: number | null;
  readonly prior_batch: string | null;
  readonly prior_at: string | null;
  readonly tenant: string | null;
}

function toEvent(writerId: number, row: EventRow): ForwardedEvent {
  return {
    eventId: `${writerId}-${row.batch}-${row.ordinal}`,
    jobId: row.job_id,
    type: row.type,
    state: row.state,
    revision: row.revision,
    attempt: row.attempt,
    fencingToken: BigInt(row.fencing_token),
    sessionId: row.session_id,
    reason: row.reason ?? "",
    atMs: row.at_ms,
    tenant: row.tenant,
    prior:
      row.prior_writer === null || row.prior_batch === null || row.prior_at === null
        ? null
        : { writerId: row.prior_writer, page: Number(row.prior_batch), at: row.prior_at },
  };
}

/** The next pages of a writer that there are; a number may be missing among them. */
export async function readPages(db: ReadPool, after: ForwardClaim, pagesMax: number): Promise<EventPage[]> {
  const { writerId } = after;
  const { rows } = await db.query<EventRow>({
    name: "forward_pages",
    text: readPagesText,
    values: [writerId, after.forwardedThrough, after.pageAt, pagesMax],
  });
  const pages = new Map<string, { place: PagePlace; events: ForwardedEvent[] }>();
  for (const row of rows) {
    let page = pages.get(row.batch);
    if (!page) {
      page = { place: { writerId, page: Number(row.batch), at: row.page_at }, events: [] };
      pages.set(row.batch, page);
    }
    if (row.ordinal !== null) page.events.push(toEvent(writerId, row));
  }
  return [...pages.values()];
}

/** A job's events in a page. */
export interface WantedEvents {
  readonly place: PagePlace;
  readonly jobId: string;
  readonly tenant: string | null;
}

const readEventsText = `
with wanted as (
  select writer_id, batch, at, array_agg(job_id) as job_ids
  from unnest($1::integer[], $2::bigint[], $3::timestamptz[], $4::uuid[]) as i (writer_id, batch, at, job_id)
  group by writer_id, batch, at
)
select p.writer_id, p.batch, p.at::text as page_at, ${toMs("p.at")} as at_ms, e.ordinal, e.job_id, e.type, e.state,
  e.revision, e.attempt, e.fencing_token, e.session_id, e.reason, e.prior_writer, e.prior_batch, e.prior_at::text,
  null::text as tenant
from wanted w
join event_page p on ${isByKeyOf("p", "w", "writer_id", "batch", "at")}
cross join lateral unnest(p.items) with ordinality
  as e (job_id, type, state, revision, attempt, fencing_token, session_id, reason, prior_at, prior_writer, prior_batch, ordinal)
where e.job_id = any(w.job_ids)
order by e.revision`;

/** All events of a job in a page, oldest first, for each wish; none where retention has dropped the page. */
export async function readEvents(db: ReadPool, wanted: readonly WantedEvents[]): Promise<ForwardedEvent[][]> {
  const { rows } = await db.query<EventRow & { writer_id: number }>({
    name: "forward_events",
    text: readEventsText,
    values: [
      numberArray(wanted.map(({ place }) => place.writerId)),
      numberArray(wanted.map(({ place }) => place.page)),
      wanted.map(({ place }) => place.at),
      uuidArray(wanted.map(({ jobId }) => jobId)),
    ],
  });
  const key = (writerId: number, page: number | string, jobId: string) => `${writerId}-${page}-${jobId}`;
  const found = new Map<string, EventRow[]>();
  for (const row of rows) {
    const place = key(row.writer_id, row.batch, row.job_id);
    found.set(place, [...(found.get(place) ?? []), row]);
  }
  return wanted.map(({ place, jobId, tenant }) =>
    (found.get(key(place.writerId, place.page, jobId)) ?? []).map((row) => ({
      ...toEvent(place.writerId, row),
      tenant,
    })),
  );
}

/** What retention dropped of a writer after a page, before it was forwarded. */
export async function readDroppedPages(
  db: ReadPool,
  sink: string,
  after: ForwardClaim,
): Promise<DroppedPages[]> {
  const { rows } = await db.query<{ first_batch: string; last_batch: string; dropped_at_ms: number }>(
    `select first_batch, last_batch, ${toMs("dropped_at")} as dropped_at_ms from forward_gap
     where sink = $1 and writer_id = $2 and last_batch > $3 order by first_batch`,
    [sink, after.writerId, after.forwardedThrough],
  );
  return rows.map((row) => ({
    eventId: `${after.writerId}-${row.first_batch}-dropped`,
    writerId: after.writerId,
    firstPage: Number(row.first_batch),
    lastPage: Number(row.last_batch),
    droppedAtMs: row.dropped_at_ms,
  }));
}
