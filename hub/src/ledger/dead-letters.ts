// Dead letters: which jobs died when, and what operators said of them. Rows come and go with the jobs' states, by a
// trigger of migration 0008; retrying one is revive-job.ts.
import type { DeadJob, DeadLetterFilter, DeadLetterPlace } from "../domain/dead-letter.js";
import type { Operator } from "../domain/operation.js";
import type { Outcome } from "../domain/outcome.js";
import { isUuid } from "../domain/uuid.js";
import { operatorValues, recordOperation } from "./operations.js";
import type { ReadPool } from "./read-pool.js";
import { fromMs, isByKey, toMs } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

interface DeadRow {
  readonly job_id: string;
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly attempt: number;
  readonly attempts_max: number;
  readonly submitted_at_ms: number;
  readonly died_at_ms: number;
  readonly died_at_micros: string;
  readonly outcome: Outcome | null;
  readonly resolved_at_ms: number | null;
  readonly resolved_by: string | null;
  readonly note: string | null;
}

const micros = (expression: string) => `(extract(epoch from ${expression}) * 1000000)::bigint`;

const columns = `
  d.job_id, l.product, l.queue, l.kind, j.attempt, j.attempts_max, ${toMs("j.submitted_at")} as submitted_at_ms,
  ${toMs("d.died_at")} as died_at_ms, ${micros("d.died_at")} as died_at_micros, j.outcome,
  ${toMs("d.resolved_at")} as resolved_at_ms, d.resolved_by, d.note`;

const unknownFailure = { code: "UNKNOWN", message: "", permanent: false };

function toDeadJob(row: DeadRow): DeadJob {
  const { outcome } = row;
  return {
    jobId: row.job_id,
    product: row.product,
    queue: row.queue,
    kind: row.kind,
    attempt: row.attempt,
    attemptsMax: row.attempts_max,
    submittedAtMs: row.submitted_at_ms,
    diedAtMs: row.died_at_ms,
    failure: outcome?.type === "failure" ? outcome : unknownFailure,
    resolution:
      row.resolved_at_ms === null
        ? null
        : { atMs: row.resolved_at_ms, by: row.resolved_by ?? "", note: row.note ?? "" },
  };
}

export interface DeadLetterPage {
  /** In the order of the walk, newest first, each with its place. */
  readonly letters: readonly { readonly job: DeadJob; readonly place: DeadLetterPlace }[];
  /** Where the walk goes on; null at the end. */
  readonly next: DeadLetterPlace | null;
}

/**
 * The next part of a walk from the newest dead letter to the oldest, `scanMax` of the tenant at most; what does not
 * match is left out. A walk along one index: what of the filter a failure itself says is not looked at here.
 */
export async function walkDeadLetters(
  db: ReadPool,
  tenantId: number,
  filter: DeadLetterFilter,
  after: DeadLetterPlace,
  scanMax: number,
): Promise<DeadLetterPage> {
  const { rows } = await db.query<DeadRow & { last_micros: string | null; last_id: string; scanned: number }>(
    {
      name: "walk_dead_letters",
      text: `
      with scanned as (
        select * from dead_letter
        where tenant_id = $1
          and (died_at, job_id) < ('epoch'::timestamptz + $2::bigint * interval '1 microsecond', $3::uuid)
          and died_at >= ${fromMs("$4::float8")} and died_at < ${fromMs("$5::float8")}
        order by died_at desc, job_id desc limit $10
      ), matching as (
        select ${columns} from scanned d join job j on ${isByKey("j.id", "d.job_id")}
        join lane l on ${isByKey("l.lane_id", "j.lane_id")}
        where ($6 = '' or l.product = $6) and ($7 = '' or l.queue = $7) and ($8 = '' or l.kind = $8)
          and ($9 or d.resolved_at is null) and ($11 = '' or j.outcome ->> 'code' = $11)
      ), last as (
        select ${micros("died_at")} as last_micros, job_id as last_id from scanned order by died_at, job_id limit 1
      )
      select m.*, last.*, s.scanned from (select count(*)::integer as scanned from scanned) s
      left join last on true left join matching m on true
      order by m.died_at_micros desc, m.job_id desc`,
      values: [
        tenantId,
        after.diedAtMicros,
        after.jobId,
        filter.diedAfterMs ?? 0,
        filter.diedBeforeMs ?? 253_402_300_799_000,
        filter.product,
        filter.queue,
        filter.kind,
        filter.withResolved,
        scanMax,
        filter.code,
      ],
    },
  );
  const first = rows[0];
  const isEnd = !first || first.last_micros === null || first.scanned < scanMax;
  return {
    letters: rows
      .filter((row) => row.job_id !== null)
      .map((row) => ({
        job: toDeadJob(row),
        place: { diedAtMicros: row.died_at_micros, jobId: row.job_id },
      })),
    next: isEnd ? null : { diedAtMicros: first.last_micros ?? "", jobId: first.last_id },
  };
}

/** Those of the jobs that are dead letters of the tenant, in no order. */
export async function readDeadLetters(
  db: ReadPool,
  tenantId: number,
  jobIds: readonly string[],
): Promise<DeadJob[]> {
  const { rows } = await db.query<DeadRow>({
    name: "read_dead_letters",
    text: `select ${columns} from dead_letter d join job j on ${isByKey("j.id", "d.job_id")}
      join lane l on ${isByKey("l.lane_id", "j.lane_id")}
      where d.job_id = any($2) and d.tenant_id = $1`,
    values: [tenantId, uuidArray(jobIds.filter(isUuid))],
  });
  return rows.map(toDeadJob);
}

/**
 * Notes that these dead letters are dealt with, for the operator's reason; answers those that it found. Resolving again
 * replaces the note; the same note of the same operator changes nothing.
 */
export async function resolveDeadLetters(
  db: ReadPool,
  operator: Operator,
  jobIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ job_id: string }>({
    name: "resolve_dead_letters",
    text: `
      with found as materialized (
        select job_id, resolved_by, note from dead_letter where job_id = any($2) and tenant_id = $1
        order by job_id for no key update
      ), resolved as (
        update dead_letter d set resolved_at = now(), resolved_by = $3, note = $4 from found f
        where ${isByKey("d.job_id", "f.job_id")} and (f.resolved_by is distinct from $3 or f.note is distinct from $4)
        returning d.*, f.resolved_by as by_before, f.note as note_before
      ), changed as (
        select tenant_id as operation_tenant, 'dead_letter.resolve' as action, 'job:' || job_id as target,
          case when note_before is not null
            then jsonb_build_object('resolvedBy', by_before, 'note', note_before) end as before,
          jsonb_build_object('resolvedBy', resolved_by, 'note', note) as after
        from resolved
      ), ${recordOperation("changed", 3)}
      select job_id from found`,
    values: [operator.tenantId, uuidArray(jobIds), ...operatorValues(operator)],
  });
  return new Set(rows.map((row) => row.job_id));
}
