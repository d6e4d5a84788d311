import type { Spend } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { Outcome, OutcomeDecision } from "../domain/outcome.js";
import { outcomeFingerprint } from "../domain/outcome.js";
import { endJobs, lockRuns } from "./advance-runs.js";
import { distinctItems, inJobOrder, leaseKey } from "./distinct-items.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { onJobTable } from "./job-partitions.js";
import {
  eventOfSettledState,
  isByKey,
  linkHistory,
  numberArray,
  packBytes,
  textArray,
  toMs,
  writePage,
} from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface ReportItem {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint;
  readonly outcome: Outcome;
  readonly decision: OutcomeDecision;
  /** What the attempt has spent; absent when its worker has not said. */
  readonly spend?: Spend;
  /** Its end may concern other jobs. When in doubt, true: plain jobs take the shorter way. */
  readonly isLinked: boolean;
  /** It counts at meters, as far as its hub knows: then its end is theirs, too. */
  readonly isMetered?: boolean;
}

/** The verdict on a result (D5). */
export type ReportVerdict =
  | {
      readonly type: "committed";
      readonly state: JobState;
      /** When the next attempt is due; only with state Scheduled. */
      readonly dueAtMs: number | null;
    }
  | { readonly type: "duplicate" }
  | { readonly type: "stale" };

/** "linked": nothing was changed; its end concerns other jobs, or meters, so it has to be reported as linked. */
export type ReportResult = ReportVerdict | { readonly type: "linked" };

/**
 * A plain job's end is nobody else's business; in the same words, others are left alone. Of a metered one, its meters are
 * told: what its worker said that it spent is settled, or else its estimate (D18).
 */
type Way = "plain" | "metered" | "linked";

const left: Readonly<Record<Way, string>> = {
  plain: "and j.is_linked is null and j.meter_ids is null",
  metered: "and j.is_linked is null",
  linked: "",
};

const meterParts = `
), vacated as (
  delete from seat t using settled s where ${isByKey("t.job_id", "s.id")} and s.meter_ids is not null
), said as (
  delete from spend p using settled s where ${isByKey("p.job_id", "s.id")} and s.meter_ids is not null
), ends as (
  insert into hold_end (meter_id, jobs, cost, tokens, settled_cost, settled_tokens, spent_cost, spent_tokens)
  select m, count(*), sum(h.cost), sum(h.tokens), sum(least(h.cost, h.spent_cost)), sum(least(h.tokens, h.spent_tokens)),
    sum(h.spent_cost), sum(h.spent_tokens)
  from (
    select s.meter_ids, s.cost, s.tokens, coalesce(p.cost, s.cost) as spent_cost,
      coalesce(p.tokens, s.tokens) as spent_tokens
    from settled s
    left join lateral (
      select * from spend p where ${isByKey("p.job_id", "s.id")} and p.fencing_token = s.fencing_token) p on true
    where s.meter_ids is not null) h
  cross join lateral unnest(h.meter_ids) as m
  group by m`;

const reportText = (way: Way) => (jobs: string) =>
  `
with input as (
  select * from unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::smallint[], $7::float8[], $8::bigint[],
    $9::integer[], $10::integer[], $11::text[], $12::text[], $13::text[]) with ordinality
    as i (id, session_id, fencing_token, state, delay_ms, fingerprint, result_offset, result_length,
      result_content_type, outcome, reason, ordinal)
), settled as (
  update ${jobs} j set
      state = settled_state(i.state, j.cancel_by is not null, j.attempt, j.attempts_max),
      finished_at = case when settled_state(i.state, j.cancel_by is not null, j.attempt, j.attempts_max)
        <> ${JobState.Scheduled} then now() end,
      run_at = case when i.state = ${JobState.Scheduled} then now() + i.delay_ms * interval '1 ms' else j.run_at end,
      session_id = null, delivery = null, cancel_by = null,
      outcome_token = i.fencing_token, outcome_fingerprint = i.fingerprint,
      result = case when i.result_length >= 0
        then substring($14::bytea from i.result_offset + 1 for i.result_length) end,
      result_content_type = i.result_content_type, outcome = i.outcome::jsonb, ${linkHistory}
  from input i
  where ${isByKey("j.id", "i.id")} and j.fencing_token = i.fencing_token
    and j.session_id = i.session_id and j.state = ${JobState.Leased} ${left[way]}
  returning j.id, j.state, j.revision, j.attempt, j.fencing_token, j.run_at, j.checkpoint_sequence,
    j.prior_at, j.prior_writer, j.prior_batch,
    ${eventOfSettledState} as event, i.session_id as event_session, i.reason, i.ordinal${
      way === "plain"
        ? ""
        : ", j.meter_ids, estimated_cost(j.options) as cost, estimated_tokens(j.options) as tokens"
    }
), timers as (
  insert into timer (purpose, due_at, job_id, guard)
  select 1, run_at, id, revision from settled where state = ${JobState.Scheduled}
), spent as (
  delete from checkpoint c using settled s
  where ${isByKey("c.job_id", "s.id")} and s.checkpoint_sequence > 0
    and s.state in (${JobState.Succeeded}, ${JobState.Cancelled})
${way === "plain" ? "" : meterParts}), ${writePage("settled")}
select array_agg(ordinal::integer) as ordinals, state,
  case when state = ${JobState.Scheduled} then ${toMs("run_at")} end as due_at_ms
from settled group by state, due_at_ms`;

const statements: Readonly<Record<Way, ReturnType<typeof onJobTable>>> = {
  plain: onJobTable("report_results", reportText("plain")),
  metered: onJobTable("report_metered_results", reportText("metered")),
  linked: onJobTable("report_linked_results", reportText("linked")),
};

/** Only within the reporter's tenant: another tenant's job is as if it were absent. */
const refusedText = `
select i.ordinal, j.outcome_token, j.outcome_fingerprint,
  coalesce(j.is_linked, j.meter_ids is not null) and j.state = ${JobState.Leased} and j.session_id = i.session_id
    and j.fencing_token = i.fencing_token as is_current
from unnest($1::uuid[], $2::uuid[], $3::bigint[]) with ordinality as i (id, session_id, fencing_token, ordinal)
join job j on ${isByKey("j.id", "i.id")} and (j.outcome_token is not null or j.is_linked or j.meter_ids is not null)
join session s on ${isByKey("s.session_id", "i.session_id")} and s.tenant_id = j.tenant_id`;

/** Commits results under their fencing tokens (D3, D4, D5, D8). */
export const reportResults: BatchStatement<ReportItem, ReportResult> = {
  name: "report_results",
  itemsMax: 512,
  bytesMax: 16 << 20,
  bytesOf: (item) => (item.outcome.type === "success" ? item.outcome.result.length : 256) + 128,
  run: async (on, items) => {
    const distinct = inJobOrder(distinctItems(items, leaseKey).values());
    const ids = distinct.map((item) => item.jobId);
    const fingerprints = distinct.map((item) => outcomeFingerprint(item.outcome));
    const results = packBytes(
      distinct.map(({ outcome }) => (outcome.type === "success" ? outcome.result : null)),
    );
    const isLinked = distinct.some((item) => item.isLinked);
    const way = isLinked ? "linked" : distinct.some((item) => item.isMetered) ? "metered" : "plain";
    const statement = {
      ...statements[way](on.jobTable(ids)),
      values: [
        on.writerId,
        on.batch,
        uuidArray(ids),
        uuidArray(distinct.map((item) => item.sessionId)),
        numberArray(distinct.map((item) => item.fencingToken)),
        numberArray(distinct.map((item) => item.decision.state)),
        numberArray(distinct.map((item) => item.decision.delayMs)),
        numberArray(fingerprints),
        results.offsets,
        results.lengths,
        textArray(
          distinct.map(({ outcome }) => (outcome.type === "success" ? outcome.contentType || null : null)),
        ),
        textArray(
          distinct.map(({ outcome }) => (outcome.type === "success" ? null : JSON.stringify(outcome))),
        ),
        textArray(distinct.map(({ outcome }) => reasonOf(outcome))),
        results.blob,
      ],
    };
    const { rows, advanced } = isLinked
      ? await endJobs<SettledRow>(on, lockRuns(ids), statement)
      : { ...(await on.connection.query<SettledRow>(statement)), advanced: undefined };
    const settled = new Map<ReportItem, ReportResult>();
    for (const { ordinals, state, due_at_ms: dueAtMs } of rows)
      for (const ordinal of ordinals)
        settled.set(distinct[ordinal - 1] as ReportItem, { type: "committed", state, dueAtMs });
    const refused = items.filter((item) => !settled.has(item));
    const verdicts = refused.length > 0 ? await judgeRefused(on, refused) : [];
    return {
      results: items.map((item) => settled.get(item) ?? (verdicts.shift() as ReportResult)),
      wrotePage: rows.length > 0,
      ...(advanced && { advanced }),
    };
  },
};

/** The items that came to one state, counted from 1. */
interface SettledRow {
  readonly ordinals: readonly number[];
  readonly state: JobState;
  readonly due_at_ms: number | null;
}

/** What the history shows; the full outcome is on the job. */
function reasonOf(outcome: Outcome): string | null {
  switch (outcome.type) {
    case "success":
      return null;
    case "failure":
      return `${outcome.code}: ${outcome.message}`.slice(0, 500);
    case "cancelled":
      return outcome.reason || null;
  }
}

async function judgeRefused(on: BatchContext, items: readonly ReportItem[]): Promise<ReportResult[]> {
  const ids = items.map((item) => item.jobId);
  const sessions = uuidArray(items.map((item) => item.sessionId));
  const tokens = numberArray(items.map((item) => item.fencingToken));
  const { rows } = await on.connection.query<{
    ordinal: string;
    outcome_token: string;
    outcome_fingerprint: string;
    is_current: boolean | null;
  }>({ name: "judge_reports", text: refusedText, values: [uuidArray(ids), sessions, tokens] });
  const accepted = new Map(rows.map((row) => [Number(row.ordinal), row]));
  return items.map((item, at) => {
    const row = accepted.get(at + 1);
    const isSame =
      row !== undefined &&
      row.outcome_token === String(item.fencingToken) &&
      row.outcome_fingerprint === String(outcomeFingerprint(item.outcome));
    if (row?.is_current) return { type: "linked" };
    return { type: isSame ? "duplicate" : "stale" };
  });
}
