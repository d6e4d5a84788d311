import type { SessionProfile } from "../domain/fleet-view.js";
import type { JobOptions } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { BatchStatement } from "./group-commit.js";
import { isByKey } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface ResumeSessionItem {
  readonly sessionId: string;
  readonly tenantId: number;
  /** By which it is judged from now on: that of whoever came back. */
  readonly keyId: string;
  readonly subject: string;
  readonly ttlMs: number;
  /** What the worker is now; without it, what it was. */
  readonly worker?: { readonly workerName: string; readonly profile: SessionProfile };
}

/** A lease that a session has in the ledger. */
export interface StandingLease {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly attempt: number;
  readonly attemptsMax: number;
  readonly delivery: number;
  readonly options: JobOptions;
  readonly laneId: number;
}

export type ResumeResult =
  | {
      readonly type: "resumed";
      /** Fences the stream: a newer resume has a higher one. */
      readonly epoch: number;
      readonly deliveredThrough: number;
      /** The highest delivery number used so far; 0 when none was. */
      readonly lastDelivery: number;
      readonly workerName: string;
      readonly profile: SessionProfile;
      readonly leases: readonly StandingLease[];
      /** Numbers of the deliveries that are still recorded. */
      readonly deliveries: readonly number[];
      readonly lastRequest: { readonly requestId: string; readonly delivery: number } | null;
    }
  | { readonly type: "expired" };

const resumeText = `
update session set
    epoch = epoch + 1, writer_id = $1, expires_at = now() + $5::float8 * interval '1 ms', is_draining = false,
    key_id = $8, worker_name = coalesce($6::text, worker_name), profile = coalesce($7::jsonb, profile)
where session_id = $2 and tenant_id = $3 and subject = $4 and state = 1 and expires_at > now()
returning epoch, delivered_through, worker_name, profile, last_request_id, last_request_delivery`;

const deliveriesText = "select delivery, job_ids from delivery where session_id = $1 order by delivery";

const standingText = `
select j.id, j.fencing_token, j.attempt, j.attempts_max, j.delivery, j.options, j.lane_id
from unnest($1::uuid[]) as i (id) join job j on ${isByKey("j.id", "i.id")}
where j.session_id = $2 and j.state = ${JobState.Leased}`;

/** Resumes a session of the same tenant and subject that has not expired (D6). */
export const resumeSession: BatchStatement<ResumeSessionItem, ResumeResult> = {
  name: "resume_session",
  itemsMax: 1,
  bytesMax: 1 << 20,
  bytesOf: () => 128,
  run: async (on, [item]) => {
    if (!item) throw new TypeError("Nothing to resume.");
    const resumed = await on.connection.query<{
      epoch: number;
      delivered_through: string;
      worker_name: string;
      profile: SessionProfile;
      last_request_id: string | null;
      last_request_delivery: string | null;
    }>({
      name: "resume_session",
      text: resumeText,
      values: [
        on.writerId,
        item.sessionId,
        item.tenantId,
        item.subject,
        item.ttlMs,
        item.worker?.workerName ?? null,
        item.worker ? JSON.stringify(item.worker.profile) : null,
        item.keyId,
      ],
    });
    const row = resumed.rows[0];
    if (!row) return { results: [{ type: "expired" }], wrotePage: false };
    const deliveries = await on.connection.query<{ delivery: string; job_ids: string[] }>({
      name: "read_deliveries",
      text: deliveriesText,
      values: [item.sessionId],
    });
    const jobIds = deliveries.rows.flatMap((delivery) => delivery.job_ids);
    const standing = await on.connection.query<{
      id: string;
      fencing_token: string;
      attempt: number;
      attempts_max: number;
      delivery: string;
      options: JobOptions | null;
      lane_id: number;
    }>({ name: "read_standing_leases", text: standingText, values: [uuidArray(jobIds), item.sessionId] });
    const numbers = deliveries.rows.map((delivery) => Number(delivery.delivery));
    const deliveredThrough = Number(row.delivered_through);
    return {
      results: [
        {
          type: "resumed",
          epoch: row.epoch,
          deliveredThrough,
          lastDelivery: Math.max(deliveredThrough, numbers.at(-1) ?? 0),
          workerName: row.worker_name,
          profile: row.profile,
          deliveries: numbers,
          lastRequest:
            row.last_request_id === null
              ? null
              : { requestId: row.last_request_id, delivery: Number(row.last_request_delivery) },
          leases: standing.rows.map((lease) => ({
            jobId: lease.id,
            fencingToken: BigInt(lease.fencing_token),
            attempt: lease.attempt,
            attemptsMax: lease.attempts_max,
            delivery: Number(lease.delivery),
            options: lease.options ?? {},
            laneId: lease.lane_id,
          })),
        },
      ],
      wrotePage: false,
    };
  },
};
